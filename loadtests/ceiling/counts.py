"""What a request costs behind the edge: database queries, cache look-ups, requests and bytes at the origin.

The apps count their queries and look-ups themselves (their metrics), the balancer every request it is asked (its log):
counted there, what a caching edge asks for in nobody's name is in it too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

    Each reading is a time in seconds and the metrics then. A counter that went back was begun anew.
    """
    rates: dict[str, float] = {}
    for box in before.keys() & after.keys():
        seconds = after[box][0] - before[box][0]
        was, now = counted(before[box][1]), counted(after[box][1])
        for name, value in now.items():
            grown = value - was[name] if value >= was[name] else value
            rates[name] = rates.get(name, 0.0) + grown / seconds
    return rates


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


def _requests(trial: Mapping[str, Any]) -> float:
    """Clients' requests a second while a trial's counts were taken."""
    if over := trial.get("counted_over"):
        return float(over["requests"] / over["seconds"])
    return float(trial["result"]["total"]["completed_rate"])  # older records counted in the window itself
