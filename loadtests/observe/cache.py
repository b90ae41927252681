"""A stage's cache between two readings: its reads by kind and by what came of them, its age, and how full it was.

Pure, over what the apps count in their metrics and what Redis says of itself.
"""

import re
from collections.abc import Mapping
from typing import Any

from loadtests.observe.metrics import rates

Reads = dict[str, dict[str, float]]
"""By kind (article, list, comments, profile, tags), then by outcome: hit, shared, miss, not cached, away."""

_READS = re.compile(r"^conduit_cache_reads_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def reads(metrics: str) -> Reads:
    """An app's reads of the cache so far, out of its metrics."""
    found: Reads = {}
    for labels, value in _READS.findall(metrics):
        of_it = dict(_LABEL.findall(labels))
        found.setdefault(of_it["what"], {})[of_it["result"]] = float(value)
    return found


def reads_a_second(before: Mapping[str, tuple[float, Reads]], after: Mapping[str, tuple[float, Reads]]) -> Reads:
    """All apps' reads a second between two readings of theirs, each a time in seconds and the reads so far."""
    found: Reads = {}
    for (kind, outcome), rate in rates(_flat(before), _flat(after)).items():
        found.setdefault(kind, {})[outcome] = rate
    return found


def _flat(read: Mapping[str, tuple[float, Reads]]) -> dict[str, tuple[float, dict[tuple[str, str], float]]]:
    return {
        app: (at, {(kind, outcome): n for kind, of_it in found.items() for outcome, n in of_it.items()})
        for app, (at, found) in read.items()
    }


def held_between(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Of each cache that was asked twice (``caches.held``): its ``age`` in seconds at the beginning and ``age_after``
    at the end, how full it was at the end, and how many keys it evicted in between.
    """
    found = {}
    for name in before.keys() & after.keys():
        was, now = before[name], after[name]
        # Fewer than before is of a Redis that was started anew.
        evicted = now["evicted"] - (was["evicted"] if now["evicted"] >= was["evicted"] else 0)
        full = {what: now[what] for what in ("keys", "bytes", "max_bytes")}
        found[name] = {"age": was["age"], "age_after": now["age"], **full, "evicted": evicted}
    return found
