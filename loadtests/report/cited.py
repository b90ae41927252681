"""``python -m loadtests.report.cited``: fill the tables of figures in the docs from the runs that they cite.

A table stands between ``<!-- figures: NAME NAME -->`` and ``<!-- end -->``; each name is a folder in ``docs/runs``. No
figure is typed by hand, and a test holds the pages against the runs. ``figures`` are of ceilings, and ``requests`` what
one request leads to there; ``shares`` what parts of the load take of the CPU; ``journeys`` how long what people do one
after another takes; ``experiments`` what came of them; ``transitions`` what each step from a stage to the next gives,
where ``NAME:3`` is the step to stage 3 alone; ``boxes`` what boxes of each size can do; ``checks`` what health
checks take of them; ``writes`` what primaries write, alone and with their replicas; ``failovers`` for how long nobody
can; ``promises`` what `make check` found; and ``reads`` what primaries answer, alone and with replicas.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from loadtests.bench import box_figures, checks, failover, reads, writes
from loadtests.check import figures as check_figures
from loadtests.compare import differences
from loadtests.report import experiment, shares, turns
from loadtests.report.words import NONE, a_request, about, kept, ms, percent, programs, rate

ROOT = Path(__file__).resolve().parents[2]
_KINDS = "figures|requests|shares|journeys|experiments|transitions|boxes|checks|writes|failovers|promises|reads"
_BLOCK = re.compile(rf"(<!-- ({_KINDS}): ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
Runs = list[tuple[str, dict[str, Any]]]
Table = tuple[list[str], list[list[str]]]


class UnlikeError(ValueError):
    """Figures that must not be set against each other, or are not there."""


def pages() -> list[Path]:
    """The pages that may cite runs: the README and the docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(page: Path) -> str:
    """The page's text with every table made anew from its runs.

    Raises FileNotFoundError for a run that is not kept, and UnlikeError for runs beside each other that differ in more
    than their stage.
    """
    above = "../" * (len(page.relative_to(ROOT).parts) - 1)

    def table(block: re.Match[str]) -> str:
        make = _TABLES[block[2]]
        head, rows = make([(name, _run(name)) for name in block[3].split()], above)
        lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
        return block[1] + "\n".join(lines) + "\n" + block[4]

    return _BLOCK.sub(table, page.read_text())


def _ceilings(runs: Runs, above: str) -> Table:
    head = [
        "stage, mix",
        "ceiling, requests/s",
        "p95 there",
        "CPU of each box there",
        "CPU ms a request",
        "goodput at 3×",
        "run",
    ]
    _check_alike(runs)
    return head, [_cells(name, run, above) for name, run in runs]


def _check_alike(runs: Runs) -> None:
    """Raises UnlikeError where runs of one mix stand beside each other that `make compare` would refuse."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, run in runs:
        other, before = first.setdefault(run["mix"]["name"], (name, run))
        if what := differences(before, run):
            raise UnlikeError(f"{other} and {name} stand in one table and cannot be compared: {'; '.join(what)}")


def _requests(runs: Runs, above: str) -> Table:
    """A row for what is counted behind the edge, a column for each run."""
    _check_alike(runs)
    head = ["at the ceiling"]
    head += [f"[stage {run['stage']}, {run['mix']['name']}]({above}docs/runs/{name}/report.html)" for name, run in runs]
    found = [a_request(run) for _, run in runs]
    names = dict.fromkeys(name for one in found for name in one)
    return head, [[name, *(one[name][0] if name in one else NONE for one in found)] for name in names]


def _experiments(runs: Runs, above: str) -> Table:
    first: dict[str, tuple[str, str]] = {}
    for name, run in runs:
        users = about(run["dataset"]["users"])
        other, before = first.setdefault(run["experiment"], (name, users))
        if users != before:
            raise UnlikeError(f"{other} and {name} stand in one table and are of datasets of different sizes")
    rows = [
        [
            f"{run['stage']}, {run['experiment']}",
            f"**{experiment.WORDS[run['verdict']['held']]}**",
            run["verdict"]["sentence"],
            f"[{run['mode']}, {run['started'][:10]}]({above}docs/runs/{name}/report.html)",
        ]
        for name, run in runs
    ]
    return ["stage, experiment", "what was promised", "what was seen", "run"], rows


def _shares(runs: Runs, above: str) -> Table:
    """A row for what takes CPU, a column for each run and box."""
    head, columns = ["share of the CPU used"], []
    for name, run in runs:
        for box, found in run["shares"].items():
            link = f"[stage {run['stage']}, {run['mix']['name']}]({above}docs/runs/{name}/run.json)"
            head.append(f"{link}, {rate(run['rate'])} requests/s: {box}")
            columns.append(found)
    names = shares.in_order({name for found in columns for name in found})
    return head, [
        [shares.NAMES.get(name, name), *(shares.share(found.get(name)) for found in columns)] for name in names
    ]


def _journeys(runs: Runs, above: str) -> Table:
    head: list[str] = []
    rows: list[list[str]] = []
    for name, run in runs:
        head, found = shares.journeys_table(run)
        rows += [
            [f"stage {run['stage']}, {row[0]}", *row[1:], f"[{run['mode']}]({above}docs/runs/{name}/run.json)"]
            for row in found
        ]
    return [*head, "run"], rows


def _transitions(runs: Runs, above: str) -> Table:
    """A row for each step of each run in which stages were measured in turn, or for the one that is asked for."""
    first: dict[str, tuple[str, tuple[str, list[float]]]] = {}
    rows = []
    for cited, run in runs:
        name, _, only = cited.partition(":")
        measured = about(run["dataset"]["users"]), run["cpus"]
        other, before = first.setdefault(run["mix"]["name"], (name, measured))
        if measured != before:
            raise UnlikeError(f"{other} and {name} stand in one table, and have other datasets or boxes")
        steps = [row for row in turns.rows(run) if only in ("", str(row.to))]
        if not steps:
            raise UnlikeError(f"{name} has no step to stage {only}")
        for row in steps:
            step, ratio = f"{row.step}, {row.mix}", row.with_interval("**{}**")
            rows.append([step, row.ceilings, ratio, *row.beside, _link(name, run, set(run["cpus"]), above)])
    return [*turns.HEAD, "run"], rows


def _boxes(runs: Runs, above: str) -> Table:
    """What was measured of boxes of each size, in one run."""
    ((name, run),) = runs
    head = [" ".join(two).strip() for two in box_figures.HEAD]
    head[0] = f"[box]({above}docs/runs/{name}/run.json)"
    return head, box_figures.lines(run)


def _checks(runs: Runs, above: str) -> Table:
    """What health checks take of each box, in one run."""
    ((name, run),) = runs
    return [f"[box]({above}docs/runs/{name}/run.json)", *checks.HEAD[1:]], checks.figures(run["rounds"], run["quota"])


def _reads(runs: Runs, above: str) -> Table:
    """What primaries answer, alone and with their replicas, in one run."""
    ((name, run),) = runs
    return [f"[{reads.HEAD[0]}]({above}docs/runs/{name}/run.json)", *reads.HEAD[1:]], reads.figures(run)


def _writes(runs: Runs, above: str) -> Table:
    """What one primary writes and two, with and without their replicas, in one run."""
    ((name, run),) = runs
    return [f"[primaries]({above}docs/runs/{name}/run.json)", *writes.HEAD[1:]], writes.figures(run["trials"])


def _failovers(runs: Runs, above: str) -> Table:
    """For how long a shard takes no writes while its primary changes, in one run."""
    ((name, run),) = runs
    head = [f"[{failover.HEAD[0]}]({above}docs/runs/{name}/run.json)", *failover.HEAD[1:]]
    return head, failover.figures(run["trials"])


def _promises(runs: Runs, above: str) -> Table:
    """What was lost, and what readers missed, beside each fault of each run."""
    rows = []
    for name, run in runs:
        link = f"[{run['started'][:10]}]({above}docs/runs/{name}/run.json)"
        rows += [[*cells, link] for cells in check_figures.lines(run)]
    return [*check_figures.HEAD, "run"], rows


_TABLES = {
    "figures": _ceilings,
    "requests": _requests,
    "shares": _shares,
    "journeys": _journeys,
    "experiments": _experiments,
    "transitions": _transitions,
    "boxes": _boxes,
    "checks": _checks,
    "writes": _writes,
    "failovers": _failovers,
    "promises": _promises,
    "reads": _reads,
}


def _run(cited: str) -> dict[str, Any]:
    name = cited.partition(":")[0]
    run: dict[str, Any] = json.loads((ROOT / "docs" / "runs" / name / "run.json").read_text())
    return run


def _cells(name: str, run: dict[str, Any], above: str) -> list[str]:
    ceiling, demand, overload = run.get("ceiling") or {}, run.get("demand") or {"boxes": []}, run.get("overload")
    spread = ceiling.get("p95") or {}
    return [
        f"{run['stage']}, {run['mix']['name']}",
        f"**{rate(ceiling.get('rate'))}**{_interval(ceiling)}",
        f"{ms(spread.get('median'))} ms",
        ", ".join(f"{box['name']} {percent(box['utilisation'])}" for box in demand["boxes"]),
        ", ".join(_demand(box) for box in demand["boxes"]),
        kept(overload) if overload else NONE,
        _link(name, run, {box["cpus"] for box in run["boxes"]}, above),
    ]


def _interval(ceiling: dict[str, Any]) -> str:
    """Of 95 %; older records have none."""
    return f" ({rate(ceiling['low'])} to {rate(ceiling['high'])})" if ceiling.get("low") else ""


def _link(name: str, run: dict[str, Any], cpus: set[float], above: str) -> str:
    """To the run's report; ``cpus`` are those of its boxes."""
    size = " and ".join(f"{one:g}" for one in sorted(cpus))
    said = f"{run['mode']}, {run['dataset']['users']:,} users, boxes of {size} CPU, {run['started'][:10]}"
    return f"[{said}]({above}docs/runs/{name}/report.html)"


def _demand(box: dict[str, Any]) -> str:
    """Of a box, and of its programs where several cost something; each is a regression of its own."""
    parts = " + ".join(f"{name} {one['per_request_ms']:.2f}" for name, one in programs(box).items())
    return f"{box['name']} {box['per_request_ms']:.2f}" + (f" ({parts})" if parts else "")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    for page in pages():
        text = filled(page)
        if text != page.read_text():
            page.write_text(text)
            print(f"filled {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
