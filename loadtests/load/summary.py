"""From raw samples to the figures of a trial.

Percentiles are exact: every latency is kept until they are taken.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from loadtests.load.histogram import bucket
from loadtests.load.samples import REFUSED, WAITED_FOR, Sample

SLO_SECONDS = 0.5
"""What an answer may take, and still be a good one."""


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted values; None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency(samples: Iterable[Sample]) -> dict[str, float | None]:
    """p50, p95, p99 and max in milliseconds.

    Of the answers with 2xx and of those given up on, which count with the time they were waited for. A quick
    refusal is an error and no latency: it would make an overloaded stage look fast.
    """
    waits = sorted(
        (sample.finished - sample.intended) * 1000
        for sample in samples
        if not sample.error or sample.error in WAITED_FOR
    )
    figures = {"p50": percentile(waits, 0.5), "p95": percentile(waits, 0.95), "p99": percentile(waits, 0.99)}
    figures["max"] = waits[-1] if waits else None
    return {name: None if value is None else round(value, 2) for name, value in figures.items()}


def totals(samples: Sequence[Sample], start: float, end: float) -> dict[str, Any]:
    """Figures of the arrivals intended in [start, end), rates in requests/s.

    ``completed`` counts 2xx answers that came within the window, whenever they were asked for, and ``good``
    those of them within the SLO (goodput). ``answered`` counts the window's own arrivals with a 2xx by one
    SLO after its end: against ``sent`` it is the share achieved, free of what was in flight at the window's
    edges.
    """
    seconds = end - start
    mine = [sample for sample in samples if start <= sample.intended < end]
    errors = Counter(sample.error for sample in mine if sample.error)
    done = [sample for sample in samples if not sample.error and start <= sample.finished < end]
    good = sum(sample.finished - sample.intended <= SLO_SECONDS for sample in done)
    answered = sum(not sample.error and sample.finished < end + SLO_SECONDS for sample in mine)
    return {
        "offered": len(mine),
        "sent": len(mine) - errors[REFUSED],
        "answered": answered,
        "completed": len(done),
        "good": good,
        "errors": dict(errors.most_common()),
        "error_share": sum(errors.values()) / len(mine) if mine else 0.0,
        "offered_rate": len(mine) / seconds,
        "achieved_rate": answered / seconds,
        "completed_rate": len(done) / seconds,
        "goodput": good / seconds,
        **latency(mine),
    }


def in_flight(samples: Iterable[Sample], moment: float) -> int:
    """How many arrivals were waiting for their answer at a moment."""
    return sum(sample.intended <= moment < sample.finished for sample in samples)


def series(samples: Sequence[Sample], start: float, seconds: int) -> list[dict[str, Any]]:
    """A row for each second from ``start``.

    Arrivals, and of these the errors, those answered later than the SLO (``late``) and p95; answers, good answers, in
    flight.
    """
    arrived: list[list[Sample]] = [[] for _ in range(seconds)]
    completed, good = [0] * seconds, [0] * seconds
    waiting = [0] * (seconds + 1)
    for sample in samples:
        second = math.floor(sample.intended - start)
        if 0 <= second < seconds:
            arrived[second].append(sample)
        last = math.floor(sample.finished - start)
        if not sample.error and 0 <= last < seconds:
            completed[last] += 1
            good[last] += sample.finished - sample.intended <= SLO_SECONDS
        # In flight at the whole seconds in [intended, finished).
        first_mark, end_mark = max(0, math.ceil(sample.intended - start)), math.ceil(sample.finished - start)
        if first_mark < end_mark and first_mark <= seconds:
            waiting[first_mark] += 1
            if end_mark <= seconds:
                waiting[end_mark] -= 1
    rows = []
    flying = 0
    for second in range(seconds):
        flying += waiting[second]
        rows.append(
            {
                "t": second,
                "offered": len(arrived[second]),
                "completed": completed[second],
                "good": good[second],
                "errors": sum(bool(sample.error) for sample in arrived[second]),
                "late": sum(
                    not sample.error and sample.finished - sample.intended > SLO_SECONDS for sample in arrived[second]
                ),
                "p95": latency(arrived[second])["p95"],
                "in_flight": flying,
            }
        )
    return rows


def seconds(samples: Iterable[Sample], start: float, end: float) -> list[dict[str, Any]]:
    """What is kept of a trial: a row for each second and route, without what is zero; ``t`` is below 0 in the warm-up.

    Of the arrivals intended in that second (and before ``end``): ``offered``, ``answered`` and ``errors`` as
    ``totals`` has them, and the histogram ``waits`` of what ``latency`` counts. Of the answers that came in it:
    ``completed``, ``good``.
    """
    rows: dict[tuple[int, str], Counter[str]] = {}
    errors: dict[tuple[int, str], Counter[str]] = {}
    waits: dict[tuple[int, str], Counter[str]] = {}
    for sample in samples:
        wait = sample.finished - sample.intended
        if sample.intended < end:
            at = math.floor(sample.intended - start), sample.route
            row = rows.setdefault(at, Counter())
            row["offered"] += 1
            if sample.error:
                errors.setdefault(at, Counter())[sample.error] += 1
            else:
                row["answered"] += sample.finished < end + SLO_SECONDS
            if not sample.error or sample.error in WAITED_FOR:
                waits.setdefault(at, Counter())[str(bucket(wait * 1000))] += 1
        if not sample.error and sample.finished < end:
            row = rows.setdefault((math.floor(sample.finished - start), sample.route), Counter())
            row["completed"] += 1
            row["good"] += wait <= SLO_SECONDS
    return [
        {"t": at[0], "route": at[1]}
        | {name: count for name, count in rows[at].items() if count}
        | {name: dict(found[at]) for name, found in (("errors", errors), ("waits", waits)) if at in found}
        for at in sorted(rows)
    ]


def by_route(samples: Sequence[Sample], start: float, end: float) -> dict[str, dict[str, Any]]:
    """``totals`` of each route."""
    routes: dict[str, list[Sample]] = {}
    for sample in samples:
        routes.setdefault(sample.route, []).append(sample)
    return {route: totals(routes[route], start, end) for route in sorted(routes)}


def journeys(samples: Sequence[Sample], start: float, end: float) -> dict[str, dict[str, Any]]:
    """Of each journey (requests that one person sends one after the other) begun in [start, end).

    How many, how many of them failed, and the waits in ms (of those that ``latency`` counts), sorted: each from the
    first request's intended start to the last answer. They are few, so all are kept.
    """
    found: dict[str, dict[str, Any]] = {}
    for sample in samples:
        if start <= sample.intended < end:
            of_this = found.setdefault(sample.route, {"count": 0, "failed": 0, "waits_ms": []})
            of_this["count"] += 1
            of_this["failed"] += bool(sample.error)
            if not sample.error or sample.error in WAITED_FOR:
                of_this["waits_ms"].append(round((sample.finished - sample.intended) * 1000, 1))
    for of_this in found.values():
        of_this["waits_ms"].sort()
    return found
