"""What the cache gave at the ceiling, by kind, and how old and full it was: as a table, and in words."""

from collections.abc import Mapping
from typing import Any

from loadtests.report.words import duration, percent, rate, size, whole

OUTCOMES = {
    "hit": "hits",
    "shared": "shared",
    "miss": "missed",
    "not cached": "not cached",
    "away": "without the cache",
}
"""What may come of a read, as the apps count it, and as it is called."""
HEAD = ["kind", "reads/s", *OUTCOMES.values()]
ALL = "all"
MEANS = (
    "Shares are of all reads of a kind. A read is shared where another request of the same app had just asked the "
    "database; what is not cached is never looked up; and without the cache are those for which it was late or away."
)
AGE_MEANS = (
    "Its age is for how long it has been filling since it was last empty: one that is young, or that evicts what it "
    "has no room for, answers less than that of a site that has run for a day."
)


def table(run: Mapping[str, Any]) -> list[list[str]]:
    """A row for each kind of read, the most frequent first, and one for all; empty where nothing was counted."""
    reads: Mapping[str, Mapping[str, float]] = (run.get("cache") or {}).get("reads") or {}
    kinds = {kind: of_it for kind, of_it in reads.items() if sum(of_it.values()) > 0}
    in_order = sorted(kinds, key=lambda kind: -sum(kinds[kind].values()))
    total = {outcome: sum(of_it.get(outcome, 0.0) for of_it in kinds.values()) for outcome in OUTCOMES}
    rows = [_row(kind, kinds[kind]) for kind in in_order]
    return [*rows, _row(ALL, total)] if rows else []


def _row(kind: str, of_it: Mapping[str, float]) -> list[str]:
    reads = sum(of_it.values())
    return [kind, rate(reads), *(percent(of_it.get(outcome, 0.0) / reads) for outcome in OUTCOMES)]


def age(run: Mapping[str, Any]) -> list[str]:
    """A sentence for each cache: how long it had been filling, how full it was, and what it evicted."""
    return [_age(name, held) for name, held in sorted(((run.get("cache") or {}).get("held") or {}).items())]


def _age(name: str, held: Mapping[str, Any]) -> str:
    if held["emptied"]:
        filling = f"“{name}” was emptied while the ceiling was confirmed, {_since(held['age_after'])} before the end"
    else:
        filling = (
            f"“{name}” had been filling for {_since(held['age'])} when the ceiling was confirmed first and for "
            f"{_since(held['age_after'])} at the end"
        )
    room = f" of {size(held['max_bytes'])}" if held["max_bytes"] else ""
    evicted = f"{whole(held['evicted'])} keys were evicted" if held["evicted"] else "no key was evicted"
    return f"{filling}. It held {whole(held['keys'])} keys in {size(held['bytes'])}{room}; {evicted} meanwhile."


def _since(seconds: float | None) -> str:
    return "an unknown time" if seconds is None else duration(seconds)


def text(run: Mapping[str, Any]) -> str:
    """Both for a terminal; empty at a stage without a cache."""
    rows = table(run)
    lines = []
    if rows:
        widths = [max(len(row[column]) for row in (HEAD, *rows)) for column in range(len(HEAD))]
        lines = ["Reads of the cache at the ceiling:"]
        for row in (HEAD, *rows):
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join([*lines, *age(run)])
