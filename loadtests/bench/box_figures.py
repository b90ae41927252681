"""What the trials of ``make bench-box`` say of each candidate: pure functions of the record."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from loadtests.ceiling.demand import Line, line
from loadtests.ceiling.verdict import HOST_IDLE_AT_LEAST

HALF, FULL_LOAD, OVERLOAD = "half", "full", "overload"
ALONE = 1

HEAD = (
    ("", "box"),
    ("ceiling,", "requests/s"),
    ("p95 at", "half, ms"),
    ("held back", "of the time"),
    ("CPU ms", "a request"),
    ("of a whole", "core's"),
    ("stage 3: p95", "at half, ms"),
    ("idle,", "full"),
    ("idle,", "3 x"),
    ("busy boxes", "that fit"),
    ("", "limited by"),
)

Trial = Mapping[str, Any]


def lines(run: Mapping[str, Any]) -> list[list[str]]:
    """The cells of each candidate, the whole core's first; a dash where there is no figure."""
    whole = demand(run, run["candidates"][0]["name"])
    return [_line(run, candidate, whole) for candidate in run["candidates"]]


def table(run: Mapping[str, Any]) -> str:
    """A line for each candidate, in columns."""
    rows = [*zip(*HEAD, strict=True), *lines(run)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join(["", *(text.rstrip() for text in shown)])


def _line(run: Mapping[str, Any], candidate: Mapping[str, Any], whole: Line | None) -> list[str]:
    name = candidate["name"]
    ceiling = run["ceilings"].get(name) or {}
    known = ceiling.get("rate") is not None
    halves = [one for one in _trials(run, name, HALF, alone=True) if one["valid"]]
    many = {phase: _trials(run, name, phase, alone=False) for phase in (HALF, FULL_LOAD, OVERLOAD)}
    own = demand(run, name)
    limited = {limit.split(" ")[0] for trials in many.values() for one in trials for limit in one["limits"]}
    return [
        name,
        f"{ceiling['rate']:.0f} ({ceiling['low']:.0f}-{ceiling['high']:.0f})" if known else "-",
        _spread([one["result"]["total"]["p95"] for one in halves]),
        _share([max(box["throttled"] for box in one["boxes"].values()) for one in halves]),
        f"{own.slope * 1000:.2f} +- {(own.error or 0) * 1000:.2f}" if own else "-",
        f"{own.slope / whole.slope:.2f}" if own and whole else "-",
        _spread([one["result"]["total"]["p95"] for one in many[HALF]]),
        _share([one["host"]["idle"] for one in many[FULL_LOAD]]),
        _share([one["host"]["idle"] for one in many[OVERLOAD]]),
        _number([fit(one, candidate["cpus"], run["machine"]["cores"]) for one in many[OVERLOAD]]),
        ", ".join(sorted(limited)),
    ]


def demand(run: Mapping[str, Any], name: str) -> Line | None:
    """The CPU of stage 1's box over the rate, in all valid trials of a candidate, at the machine's usual speed.

    A request's cost is the slope, without what the box uses at rest: that weighs more the fewer requests there are.
    """
    points = [
        (
            trial["result"]["total"]["completed_rate"],
            sum(box["cpu"] for box in trial["boxes"].values()) * (1 + trial["result"].get("speed_off", 0.0)),
        )
        for trial in _trials(run, name, None, alone=True)
        if trial["valid"] and trial["phase"] != "warm-up" and trial["result"]["total"]["completed_rate"]
    ]
    return line(points) if points else None


def fit(trial: Trial, cpus: float, cores: int) -> float:
    """Busy boxes of ``cpus`` each that a machine has CPU for: those that were, and what was left beside the generator.

    What a trial must leave idle to be a verdict is left.
    """
    used: float = sum(box["cpu"] for box in trial["boxes"].values())
    left = ((trial["host"]["idle"] or 0.0) - HOST_IDLE_AT_LEAST) * cores
    return (used + left) / cpus


def _trials(run: Mapping[str, Any], name: str, phase: str | None, alone: bool) -> list[Trial]:
    return [
        trial
        for trial in run["trials"]
        if trial.get("candidate") == name and (trial["stage"] == ALONE) == alone and phase in (None, trial["phase"])
    ]


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{median(known):.0f}" + (f" ({min(known):.0f}-{max(known):.0f})" if len(known) > 1 else "")


def _share(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.0%}" if known else "-"


def _number(values: Sequence[float]) -> str:
    return f"{median(values):.1f}" if values else "-"
