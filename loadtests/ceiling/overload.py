"""Beyond the ceiling: what is left of the goodput at twice and three times the ceiling, and how soon it is back.

Why, too: of what is in flight and answered each second, Little's formula L = X·W (J. D. C. Little, "A Proof for the
Queuing Formula L = λW", 1961) makes W, the time that an answer takes. A stage that keeps so many waiting that W is over
the SLO answers everything too late, however much it answers: a cliff.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.ceiling.verdict import limits
from loadtests.load.summary import SLO_SECONDS

TIMES = (2.0, 3.0)
BACK_TO = 0.7
GRACEFUL = 0.8
# Seconds in a row within the SLO and without an error, before the stage counts as recovered.
STEADY_SECONDS = 3
# The beginning of each overload is left out, in which the queue fills: this share of it, at most so many seconds.
LEFT_OUT = 0.3
LEFT_OUT_AT_MOST = 5


def profile(ceiling: float, overload_seconds: float, recovery_seconds: float) -> list[list[float]]:
    """Stretches of [seconds, requests/s]: over the ceiling, twice, then well below it, without a pause."""
    over = [[overload_seconds, times * ceiling] for times in TIMES]
    return [*over, [recovery_seconds, BACK_TO * ceiling]]


def judge(result: dict[str, Any], ceiling: float) -> dict[str, Any]:
    """From the generator's result: goodput at each overload, graceful or cliff, seconds to recover (None: not yet).

    Goodput is answers within the SLO, in requests/s; at most 20 % of the ceiling's may be lost at three times it.
    ``answered_rate`` is that of 2xx answers, within the SLO or not, ``in_flight`` the mean number of requests that
    wait, and ``queue_seconds`` the one by the other (None without an answer). ``left_out`` seconds at the beginning of
    each overload are in none of it.

    Each stretch has limits of its own, since over the whole they might not show. Where something else was the limit at
    three times the load, twice the load decides: who fails there is a cliff, and who holds there has no verdict.
    ``kept`` is of the highest load that was nothing else's, ``kept_at``; of the highest where there is none.
    """
    over: list[dict[str, Any]] = []
    at = 0
    for times, (seconds, rate), stretch in zip(TIMES, result["profile"], result["stretches"], strict=False):
        left_out = left_out_of(seconds)
        rows = result["series"][at + left_out : at + int(seconds)]
        answered = statistics.fmean(row["completed"] for row in rows)
        in_flight = statistics.fmean(row["in_flight"] for row in rows)
        goodput = statistics.fmean(row["good"] for row in rows)
        errors = sum(row["errors"] for row in rows) / max(1, sum(row["offered"] for row in rows))
        waits = [row["p95"] for row in rows if row["p95"] is not None]
        over.append(
            {
                "times": times,
                "offered_rate": rate,
                "goodput": goodput,
                "share": goodput / ceiling,
                "error_share": errors,
                "p95": statistics.median(waits) if waits else None,
                "answered_rate": answered,
                "in_flight": in_flight,
                "queue_seconds": in_flight / answered if answered else None,
                "left_out": left_out,
                "limits": limits(stretch, stretch["errors"]),
            }
        )
        at += int(seconds)
    rows = result["series"][at:]
    recovered = seconds_to_recover(rows)
    highest = next((load for load in reversed(over) if not load["limits"]), None)
    verdict = "no verdict"
    if highest is not None and highest["share"] < GRACEFUL:
        verdict = "cliff"
    elif highest is over[-1]:
        verdict = "graceful"
    shown = highest or over[-1]
    return {
        "over": over,
        "verdict": verdict,
        "limits": list(dict.fromkeys(what for load in over for what in load["limits"])),
        "kept": shown["share"],
        "kept_at": shown["times"],
        "back_to": BACK_TO,
        "recovery_seconds": recovered,
        "recovery_limits": limits(result["stretches"][-1], result["stretches"][-1]["errors"]),
        "watched_seconds": len(rows),
    }


def left_out_of(seconds: float) -> int:
    """How many seconds at the beginning of an overload of so many are left out."""
    return max(1, min(LEFT_OUT_AT_MOST, int(LEFT_OUT * seconds)))


def of_capacity(over: Sequence[Mapping[str, Any]], boxes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The overloads with what is offered in units of what the busiest box could do, as ``capacity_times``.

    ``boxes`` are those of ``explain``, the busiest that requests wait for first: what it would use by its line, of what
    it has. Twice the ceiling is less than twice the capacity, and how much less differs from stage to stage.
    """
    busiest = boxes[0]
    return {
        "over": [
            {
                **load,
                "capacity_times": (busiest["base_cpu"] + load["offered_rate"] * busiest["per_request_ms"] / 1000)
                / busiest["capacity"],
            }
            for load in over
        ]
    }


def seconds_to_recover(rows: list[dict[str, Any]]) -> float | None:
    """Seconds after the load went down until it was well for three in a row; None when it never was."""
    well = 0
    for second, row in enumerate(rows):
        good = not row["errors"] and row["p95"] is not None and row["p95"] <= SLO_SECONDS * 1000
        # A second in which nobody came says nothing, and breaks nothing.
        well = well + 1 if good or not row["offered"] else 0
        if well == STEADY_SECONDS:
            return float(second + 1 - STEADY_SECONDS)
    return None
