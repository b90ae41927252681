"""What the step from one stage to the next gives, from searches in turn: 1 2 3 4 4 3 2 1.

Of any two neighbours that is A B B A. A machine's speed changes from minute to minute, on a shared one by a tenth and
more. What changes evenly is in both stages' figures alike then, and the two ratios tell how much is left.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.ceiling.overload import TIMES

TWO_SIDED_95 = 1.96
EDGES = ("rate", "low", "high")

Turn = Mapping[str, Any]
"""What is kept of one search, see ``turn``."""


class Ratio(NamedTuple):
    """B's ceiling over A's, with the interval that covers it 95 times in 100, and the two ratios it is made of."""

    middle: float
    low: float
    high: float
    pairs: tuple[float, float]


def order(stages: Sequence[int]) -> list[int]:
    """The stages there and back, so that each is measured twice, and any two neighbours A B B A."""
    return [*stages, *reversed(stages)]


def turn(stage: int, run: Mapping[str, Any], name: str | None, why_none: str | None = None) -> dict[str, Any]:
    """What is kept of a search, from its run.json and the name of its folder.

    ``ceiling`` is in requests/s, ``a_request`` as in run.json, and ``overload`` has of each load how many ``times`` the
    ceiling it was, what ``share`` of the ceiling's goodput was kept and the ``limits`` for which that is no verdict.
    There is none of them where ``why_none`` says why the search does not count.
    """
    kept: dict[str, Any] = {"ceiling": None, "a_request": {}, "overload": []}
    if why_none is None:
        kept = {
            "ceiling": {edge: run["ceiling"][edge] for edge in EDGES},
            "a_request": run["a_request"],
            "overload": [
                {what: load[what] for what in ("times", "share", "limits")} for load in run["overload"]["over"]
            ],
        }
    return {"stage": stage, "run": name, "why_none": why_none} | kept


def steps(stages: Sequence[int], turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The step from each stage to the next, from as many of the ``turns`` as there have been, in their order."""
    of = {stage: [one for one in turns if one["stage"] == stage] for stage in stages}
    return [{"from": a, "to": b} | _step(of[a], of[b]) for a, b in itertools.pairwise(stages)]


def _step(a: Sequence[Turn], b: Sequence[Turn]) -> dict[str, Any]:
    """Each figure ``from`` and ``to``, of the two searches at either end where it has both; their means else.

    ``ratio`` (None) and ``counted`` (empty) are of two whole pairs only: four searches that count.
    """
    whole = len(a) == len(b) == 2 and all(one["ceiling"] for one in (*a, *b))
    return {
        "ratio": _ratio_of(a, b) if whole else None,
        "ceilings": {"from": [one["ceiling"] for one in a], "to": [one["ceiling"] for one in b]},
        "counted": _counted(a, b) if whole else {},
        "hit_ratio": {"from": _mean(_hits(a)), "to": _mean(_hits(b))},
        "goodput": [{"times": times, "from": _goodput(a, times), "to": _goodput(b, times)} for times in TIMES],
    }


def _ratio_of(a: Sequence[Turn], b: Sequence[Turn]) -> dict[str, Any]:
    return ratio([one["ceiling"] for one in a], [one["ceiling"] for one in b])._asdict()


def ratio(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Ratio:
    """Of two ceilings of each stage, as run.json has them (``rate``, ``low``, ``high`` in requests/s), in their order.

    The middle is the geometric mean of the pairs. Its standard error is the larger one of two: what the four intervals
    say, and by how much the two pairs differ.
    """
    pairs = tuple(second["rate"] / first["rate"] for first, second in zip(a, b, strict=True))
    logs = [math.log(one) for one in pairs]
    middle = sum(logs) / 2
    of_intervals = math.hypot(*(math.log(one["high"] / one["low"]) for one in (*a, *b))) / (2 * TWO_SIDED_95) / 2
    of_pairs = abs(logs[0] - logs[1]) / 2
    off = TWO_SIDED_95 * max(of_intervals, of_pairs)
    return Ratio(math.exp(middle), math.exp(middle - off), math.exp(middle + off), (pairs[0], pairs[1]))


def _counted(a: Sequence[Turn], b: Sequence[Turn]) -> dict[str, dict[str, float | None]]:
    """What a request led to that all four searches counted, as means, and its relative ``change``; no machine's speed
    is in that.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in a[0]["a_request"]:
        if name != "hit_ratio" and all(name in one["a_request"] for one in (*a, *b)):
            before, after = (statistics.fmean(one["a_request"][name] for one in some) for some in (a, b))
            found[name] = {"from": before, "to": after, "change": after / before - 1 if before else None}
    return found


def _hits(turns: Iterable[Turn]) -> list[float]:
    return [one["a_request"]["hit_ratio"] for one in turns if "hit_ratio" in one["a_request"]]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _goodput(turns: Iterable[Turn], times: float) -> list[float | None]:
    """What each search kept of its ceiling's goodput at so many times the load; None where that has no verdict."""
    return [
        next((load["share"] for load in one["overload"] if load["times"] == times and not load["limits"]), None)
        for one in turns
    ]
