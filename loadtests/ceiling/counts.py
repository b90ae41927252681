"""What a request costs behind the edge: database queries, cache look-ups, requests and bytes at the origin.

The apps count their queries and look-ups themselves (their metrics), the balancer every request it is asked (its log):
counted there, what a caching edge asks for in nobody's name is in it too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtests.observe.cache import Reads
from loadtests.observe.metrics import rates

COUNTERS = {
    "queries": re.compile(r"^conduit_database_seconds_count(?:\{.*\})? (\S+)$", re.MULTILINE),
    "hits": re.compile(r'^conduit_cache_reads_total\{.*result="hit".*\} (\S+)$', re.MULTILINE),
    "misses": re.compile(r'^conduit_cache_reads_total\{.*result="miss".*\} (\S+)$', re.MULTILINE),
}
# A health check asks the database one thing, and is no request of anybody's.
_CHECKS = re.compile(r'^conduit_request_seconds_count\{.*route="/ready".*\} (\S+)$', re.MULTILINE)


def counted(metrics: str) -> dict[str, float]:
    """An app's counts so far, without those of its health checks."""
    found = {name: sum(map(float, pattern.findall(metrics))) for name, pattern in COUNTERS.items()}
    found["queries"] -= sum(map(float, _CHECKS.findall(metrics)))
    return found


def a_second(before: Mapping[str, tuple[float, str]], after: Mapping[str, tuple[float, str]]) -> dict[str, float]:
    """All apps' counts a second between two readings of theirs; empty where none was read twice.

    Each reading is a time in seconds and the metrics then.
    """
    first, second = ({box: (at, counted(text)) for box, (at, text) in read.items()} for read in (before, after))
    return rates(first, second)


def entries(log: str) -> Iterator[dict[str, Any]]:
    """The requests in a balancer's log: a JSON object a line, among lines that are not."""
    for line in log.splitlines():
        if line.startswith("{"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut in two where the log was begun anew
            if "status" in entry and "time" in entry:
                yield entry


def at_origin(log: str, since: float, until: float) -> dict[str, float]:
    """Requests and bytes a second that were answered between two times."""
    mine = [entry for entry in entries(log) if since <= entry["time"] < until]
    seconds = until - since
    return {
        "origin_requests": len(mine) / seconds,
        "origin_bytes": sum(entry["bytes"] for entry in mine) / seconds,
    }


def a_request(trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of trials, each with ``counts`` a second: what one request of a client's led to, and the cache's hit ratio.

    What none of the trials counted is not in it.
    """
    counting = [trial for trial in trials if trial.get("counts")]
    requests = sum(map(_requests, counting))
    if not requests:
        return {}
    sums: dict[str, float] = {}
    for trial in counting:
        for name, rate in trial["counts"].items():
            sums[name] = sums.get(name, 0.0) + rate
    hits, misses = sums.pop("hits", 0.0), sums.pop("misses", 0.0)
    found = {name: total / requests for name, total in sums.items()}
    if hits + misses > 0:
        found["hit_ratio"] = hits / (hits + misses)
    return found


def cache(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of trials in order, each with what it saw of the ``cache``: reads a second by kind and outcome over all of them,
    and each cache's age, how full it was and what it evicted. Empty where none saw any.

    ``age`` is at the beginning of the first and ``age_after`` at the end of the last; ``emptied`` says whether it got
    younger in between. How full it was is of the last one's end.
    """
    seen = [trial for trial in trials if trial.get("cache")]
    if not seen:
        return {}
    seconds = sum(_seconds(trial) for trial in seen)
    reads: Reads = {}
    held: dict[str, dict[str, Any]] = {}
    for trial in seen:
        for kind, outcomes in trial["cache"]["reads"].items():
            of_it = reads.setdefault(kind, {})
            for outcome, rate in outcomes.items():
                of_it[outcome] = of_it.get(outcome, 0.0) + rate * _seconds(trial) / seconds
        for name, now in trial["cache"]["held"].items():
            was = held.get(name, {"age": now["age"], "age_after": now["age"], "evicted": 0, "emptied": False})
            ages = [was["age_after"] or 0, now["age"] or 0, now["age_after"] or 0]
            held[name] = now | {
                "age": was["age"],
                "evicted": was["evicted"] + now["evicted"],
                "emptied": was["emptied"] or ages != sorted(ages),
            }
    return {"reads": reads, "held": held}


def _seconds(trial: Mapping[str, Any]) -> float:
    return float(trial["counted_over"]["seconds"])


def _requests(trial: Mapping[str, Any]) -> float:
    """Clients' requests a second while a trial's counts were taken."""
    if over := trial.get("counted_over"):
        return float(over["requests"] / over["seconds"])
    return float(trial["result"]["total"]["completed_rate"])  # older records counted in the window itself
