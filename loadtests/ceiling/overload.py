"""Beyond the ceiling: what is left of the goodput at twice and three times the ceiling, and how soon it is back."""

import statistics
from typing import Any

from loadtests.ceiling.verdict import limits
from loadtests.summary import SLO_SECONDS

TIMES = (2.0, 3.0)
BACK_TO = 0.7
GRACEFUL = 0.8
# Seconds in a row within the SLO and without an error, before the stage counts as recovered.
STEADY_SECONDS = 3


def profile(ceiling: float, overload_seconds: float, recovery_seconds: float) -> list[list[float]]:
    """Stretches of [seconds, requests/s]: over the ceiling, twice, then well below it, without a pause."""
    over = [[overload_seconds, times * ceiling] for times in TIMES]
    return [*over, [recovery_seconds, BACK_TO * ceiling]]


def judge(result: dict[str, Any], ceiling: float) -> dict[str, Any]:
    """From the generator's result: goodput at each overload, graceful or cliff, seconds to recover (None: not yet).

    Goodput is answers within the SLO, in requests/s; at most 20 % of the ceiling's may be lost at three times
    it. The first second of each overload is left out, in which the queue fills.

    Each stretch has limits of its own, since over the whole they might not show. Where something else was the limit at
    three times the load, twice the load decides: who fails there is a cliff, and who holds there has no verdict.
    ``kept`` is of the highest load that was nothing else's, ``kept_at``; of the highest where there is none.
    """
    over: list[dict[str, Any]] = []
    at = 0
    for times, (seconds, rate), stretch in zip(TIMES, result["profile"], result["stretches"], strict=False):
        rows = result["series"][at + 1 : at + int(seconds)]
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
