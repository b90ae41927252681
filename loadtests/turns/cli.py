"""`make transitions`, and `make compare A=stage2 B=stage3 MEASURE=1`: all stages are up, and measured in turn."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests import report
from loadtests.ceiling import cli
from loadtests.ceiling.plan import FULL, QUICK
from loadtests.ceiling.record import RUNS, Run, now
from loadtests.ceiling.stage import INTERRUPTED, StageCommandError, dataset, interruptible, run
from loadtests.compare import dataset_differences, differences
from loadtests.load import mixes
from loadtests.report import turns as told
from loadtests.turns import figures

FAILED, NO_VERDICT = 1, 3
MINUTES_A_SEARCH = {QUICK.mode: 4, FULL.mode: 14}


class TurnError(Exception):
    """A search after which the others are of no use; the message says why."""


class Left(NamedTuple):
    """What a search left in ``runs/``: the name of its folder, and its run.json."""

    name: str
    run: dict[str, Any]


def main(stages: Sequence[int], mix: str = "browse", quick: bool = False) -> int:
    """Measure different stages on a steady mix, there and back, and tell what each step gives.

    Returns the exit code: 0 with a ratio for each step, 1 where it cannot be done, 3 where a search had no verdict, 130
    interrupted.
    """
    interruptible()
    plan = QUICK if quick else FULL
    minutes, places = MINUTES_A_SEARCH[plan.mode], figures.order(stages)
    print(
        f"{len(places)} searches in turn ({' '.join(map(str, places))}) of some {minutes} minutes each, so "
        f"{len(places) * minutes} minutes in all{'' if quick else '; QUICK=1 is shorter'}.",
        file=sys.stderr,
    )
    try:
        for stage in stages:
            run("up", stage, "--same-apps")  # all, before the first is measured
        _check_datasets(stages, cli.SIZES[plan.mode])
    except KeyboardInterrupt:
        print("Interrupted before anything was measured.", file=sys.stderr)
        return INTERRUPTED
    except StageCommandError:
        return FAILED
    except (TurnError, *cli.UNMEASURABLE) as error:
        print(error, file=sys.stderr)
        return FAILED
    record = Run(stages[-1], f"{mix}-turns-{'-'.join(map(str, stages))}", RUNS)
    record.data |= {
        "kind": "turns",
        "stages": list(stages),
        "mix": {"name": mix, "model": mixes.load(mix).model},
        "mode": plan.mode,
        "turns": [],
        "steps": figures.steps(stages, []),
    }
    return _campaign(record, quick)


def _check_datasets(stages: Sequence[int], size: str) -> None:
    """Raises TurnError where stages hold different data, which would end it with the first search of the second."""
    first, *others = stages
    print("Reading what each stage holds …", file=sys.stderr)
    held = dataset(first, size)
    for stage in others:
        if what := dataset_differences(held, dataset(stage, size)):
            raise TurnError(
                f"Stages {first} and {stage} hold {'; '.join(what)}. Nothing was measured. Seed them "
                "alike, each with: make stageN seed SIZE=medium REPLACE=1"
            )


def _campaign(record: Run, quick: bool) -> int:
    """Search after search, each in the record as soon as it has ended. Returns the exit code."""
    code, why = 0, None
    before: Left | None = None
    places = figures.order(record.data["stages"])
    try:
        for number, stage in enumerate(places, 1):
            record.save()
            print(f"\nSearch {number} of {len(places)}: stage {stage}", file=sys.stderr)
            before = _turn(record, stage, quick, before)
            if record.data["turns"][-1]["why_none"]:
                code = NO_VERDICT
                print(
                    f"Search {number} of {len(places)} has no verdict, so no step from or to stage {stage} gets a "
                    "ratio. The other searches go on.",
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        code, why = INTERRUPTED, "interrupted"
    except TurnError as error:
        code, why = FAILED, str(error)
    record.data |= {"complete": why is None, "why_incomplete": why, "ended": now()}
    record.save()
    _tell(record)
    return code


def _turn(record: Run, stage: int, quick: bool, before: Left | None) -> Left | None:
    """One search, after one that left ``before``. Returns what it left if it has a ceiling; None without a verdict.

    Raises KeyboardInterrupt, or TurnError where it failed or must not be set against the one before.
    """
    mix, began = record.data["mix"]["name"], now()
    code = cli.main(stage, mix, quick)
    left = _newest(stage, mix, began)
    why = _why_none(code, left, before)
    if left and not record.data["machine"]:
        record.data |= {what: left.run[what] for what in ("machine", "dataset")}
        record.data["cpus"] = sorted({box["cpus"] for box in left.run["boxes"]})
    name, found = left or (None, {})
    record.data["turns"].append(figures.turn(stage, found, name, why))
    record.data["steps"] = figures.steps(record.data["stages"], record.data["turns"])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code == NO_VERDICT:
        return None
    if why:
        raise TurnError(f"stage {stage}: {why}")
    return left


def _why_none(code: int, left: Left | None, before: Left | None) -> str | None:
    """Why a search does not count; None where it does."""
    said = left.run if left else {}
    if code == INTERRUPTED:
        return "interrupted"
    if code == NO_VERDICT:
        return str((said.get("ceiling") or {}).get("no_verdict") or "no verdict")
    if code:
        return str(said.get("why_incomplete") or "its search failed")
    if left is None:
        return "its search left no record"
    # A stage's own dataset may grow, by what is published in its searches.
    if (
        before
        and before.run["stage"] != left.run["stage"]
        and (what := differences(before.run, left.run, in_turn=True))
    ):
        return f"it cannot be compared with stage {before.run['stage']}: {'; '.join(what)}"
    return None


def _newest(stage: int, mix: str, began: str) -> Left | None:
    """What a search left that began then or later."""
    for folder in sorted(RUNS.glob(f"*-stage{stage}-{mix}"), reverse=True)[:1]:
        found = json.loads((folder / "run.json").read_text())
        if found["started"] >= began:
            return Left(folder.name, found)
    return None


def _tell(record: Run) -> None:
    """What each step gives and where it is kept, and what there is of it where that is not all."""
    data = record.data
    done = sum(one["ceiling"] is not None for one in data["turns"])
    if data["why_incomplete"]:
        print(
            f"\nEnded early: {data['why_incomplete']}. Kept: {done} of {2 * len(data['stages'])} ceilings, and what "
            "follows from them.",
            file=sys.stderr,
        )
    if done:
        Console(highlight=False).print(_table(data))
        print(f"Report: {_short(report.write(record.folder))}")
    print(f"Raw data: {_short(record.folder / 'run.json')}, which names the searches' own")


def _table(data: Mapping[str, Any]) -> Table:
    """A line for each step, on a terminal of 80 columns too: the report has more of each."""
    head = ("step", "ratio", "queries\na request", "cache hits", "goodput\nat 3×")
    table = Table(*head, title=told.sentence(data), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = table.pad_edge = False
    for row in told.rows(data):
        table.add_row(row.step, row.with_interval(), row.queries, row.hits, row.thrice)
    return table


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
