"""`make compare A=stage1 B=stage2`: two ceilings side by side, as a table here and as one HTML file."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests import machines
from loadtests.ceiling.record import RUNS
from loadtests.ceiling.verdict import SPEED_OFF_AT_MOST
from loadtests.load import mixes
from loadtests.report import words
from loadtests.report.side_by_side import facts, page, sentence

# A mix that publishes adds articles, run by run; this much more of them is still the same dataset.
DATASET_TOLERANCE = 0.15
# The newest are what the lists show, though, so that a hundred of them can change what a page is made of. Of the same
# articles the shares differ too, since covers come twenty at a time; that is chance.
COVERS_TOLERANCE = 0.03
COVERS = "GET /media/{name}"


class IncomparableError(Exception):
    """Nothing to compare; the message says what is missing or what differs, and what to do."""


def main(a: str, b: str) -> int:
    """Compare two stages' newest runs, or two run folders. Returns the exit code."""
    try:
        first, second = pair(a, b, os.environ.get("MIX") or None)
    except IncomparableError as error:
        print(error, file=sys.stderr)
        return 1
    runs = (first, second)
    console = Console(highlight=False)
    table = Table(title=sentence(*runs), title_justify="left")
    for heading in ("", *(f"stage {run['stage']}" for run in runs)):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, *values in facts(*runs):
        table.add_row(name, *values)
    console.print(table)
    for note in notes(*runs):
        console.print(note, markup=False, soft_wrap=True)
    folder = RUNS / f"{second['folder'].name.split('-')[0]}-compare-{first['stage']}-{second['stage']}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "compare.html"
    path.write_text(page(*runs, notes(*runs)))
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    console.print(f"Side by side: {shown}", soft_wrap=True)
    return 0


def pair(a: str, b: str, mix: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest two runs of A and B that can be compared. Raises IncomparableError."""
    if mix is not None and mix not in mixes.NAMES:
        raise IncomparableError(f"There is no mix '{mix}'; there are: {', '.join(mixes.NAMES)}")
    firsts, seconds = candidates(a, mix), candidates(b, mix)
    # Newest first, and like with like before quick with full.
    for same_mode in (True, False):
        for first in firsts:
            for second in seconds:
                if not differences(first, second) and (not same_mode or first["mode"] == second["mode"]):
                    return first, second
    first, second = firsts[0], seconds[0]
    what = "; ".join(differences(first, second))
    raise IncomparableError(
        f"These runs cannot be compared: {what}.\n  {first['folder'].name}\n  {second['folder'].name}\n"
        f"Measure both with the same mix, dataset and box size: make stage{second['stage']} ceiling "
        f"MIX={first['mix']['name']}, or make stage{first['stage']} ceiling MIX={second['mix']['name']}"
    )


def candidates(name: str, mix: str | None) -> list[dict[str, Any]]:
    """Complete runs with a ceiling that a name means, newest first. Raises IncomparableError when there is none."""
    given = Path(name)
    if (given / "run.json").is_file():
        folders = [given]
    elif name.startswith("stage") and name[5:].isdigit():
        folders = sorted(RUNS.glob(f"*-{name}-*"), reverse=True)
    else:
        raise IncomparableError(f"'{name}' is neither a stage (as stage1) nor a folder with a run.json.")
    found = []
    for folder in folders:
        try:
            run = json.loads((folder / "run.json").read_text())
        except (OSError, ValueError):
            continue
        if run["complete"] and (run.get("ceiling") or {}).get("rate") and mix in (None, run["mix"]["name"]):
            found.append(run | {"folder": folder})
    if not found:
        with_mix = f" MIX={mix}" if mix else ""
        raise IncomparableError(
            f"{name} has no complete run with a ceiling{' of ' + mix if mix else ''} yet. "
            f"Measure it first: make {name} ceiling{with_mix}"
        )
    return found


def differences(first: dict[str, Any], second: dict[str, Any], in_turn: bool = False) -> list[str]:
    """Why figures of two runs must not be set against each other; empty when they may.

    With ``in_turn`` they are some of those that are measured in turn, so that it is one machine, whatever its speed.
    """
    found = []
    if first["mix"]["name"] != second["mix"]["name"]:
        found.append(f"mix {first['mix']['name']} and {second['mix']['name']}")
    if not in_turn:
        found += machines.differences(first, second)
    sizes = [sorted({_size(box) for box in run["boxes"]}) for run in (first, second)]
    if sizes[0] != sizes[1]:
        found.append("boxes of " + " and of ".join(", ".join(size) for size in sizes))
    found += dataset_differences(first, second)
    if first.get("strangers", False) != second.get("strangers", False):
        found.append("the requests of one came from strangers, each on a connection of their own (STRANGERS=1)")
    if first["slo"] != second["slo"]:
        found.append("different SLOs")
    shares = [_covers(run) for run in (first, second)]
    grown = first["dataset"]["articles"] != second["dataset"]["articles"]
    if grown and abs(shares[0] - shares[1]) > COVERS_TOLERANCE:
        found.append(
            "covers are " + " and ".join(words.percent(share) for share in shares) + " of the requests: articles "
            "published since the seed have none and fill the lists (make stageN seed REPLACE=1 begins anew)"
        )
    return found


def dataset_differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Why what was measured on one dataset says nothing beside the other; empty where they are alike."""
    if _same_dataset(first, second):
        return []
    counts = (f"{run['dataset']['users']} users, {run['dataset']['articles']} articles" for run in (first, second))
    return ["datasets of " + " and of ".join(counts)]


def notes(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What a reader must know of two runs that may be compared."""
    boots = [run["machine"].get("boot") for run in (first, second)]
    if None not in boots and boots[0] != boots[1]:
        return [
            "The machine was started anew between the two runs, or it is another one of the same kind. Its speed was "
            f"the same within {words.percent(SPEED_OFF_AT_MOST)}."
        ]
    return []


def _same_dataset(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """By what was seeded, where it is known: who tries a stage signs up, and that is one user in thousands."""
    seeds = [run.get("seeded") for run in (first, second)]
    if seeds[0] and seeds[1]:
        if seeds[0] != seeds[1]:
            return False
    elif first["dataset"]["users"] != second["dataset"]["users"]:
        return False
    return _near(first["dataset"]["articles"], second["dataset"]["articles"])


def _covers(run: dict[str, Any]) -> float:
    """Covers' share of all requests in the long trials."""
    routes = [trial["result"]["routes"] for trial in run["trials"] if trial["phase"] == "confirmation"]
    offered = Counter[str]()
    for found in routes:
        offered.update({route: figures["offered"] for route, figures in found.items()})
    return offered[COVERS] / max(1, offered.total())


def _size(box: dict[str, Any]) -> str:
    # The period too: the same share of a CPU, given in longer periods, answers later.
    period = box.get("period_us")  # older records have none
    core = " on one core" if box.get("one_core") else ""
    share = f"{box['cpus']:g} CPU{core} in periods of {words.ms(period and period / 1000)} ms"
    return f"{share}, {words.size(box['memory'])}"


def _near(one: int, other: int) -> bool:
    return abs(one - other) <= DATASET_TOLERANCE * max(one, other)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
