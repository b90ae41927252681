"""Positions in a server's log (WAL): eight hexadecimal digits of the timeline, then sixteen of the byte.

Later ones of a timeline are greater as texts, too. A failover begins a new timeline. What the former primary wrote
beyond that point is lost, and other changes have its positions. So a position of another timeline says nothing.
"""

from typing import NamedTuple

from sqlalchemy import text

from conduit.statements import Statement

TIMELINE_DIGITS = 8
# For how long it is known what a replica must have reached. One that may answer lags less (MAX_LAG).
KNOWN_SECONDS = 60

# What is flushed, and not what is inserted: a commit that was answered is flushed. What is inserted beyond it may be
# others', and a replica hears of that later. https://www.postgresql.org/docs/17/functions-admin.html
_FLUSHED_LSN = "lpad(to_hex(CAST(pg_current_wal_flush_lsn() - '0/0' AS bigint)), 16, '0')"
FLUSHED_SQL = f"SELECT lower(left(pg_walfile_name('0/1'), 8)) || {_FLUSHED_LSN} AS position"


class PositionRow(NamedTuple):
    position: str


class ReplayedRow(NamedTuple):
    """What a standby has replayed, and when it began to: the start of its process, or of another after a crash.

    ``timeline`` is None while it receives nothing; a primary replays nothing.
    """

    is_standby: bool
    started: str | None
    timeline: str | None
    replayed: str | None


FLUSHED = Statement("flushed", text(FLUSHED_SQL), PositionRow)
REPLAYED = Statement(
    "replayed",
    text(
        "SELECT pg_is_in_recovery() AS is_standby, "
        "(SELECT CAST(backend_start AS text) FROM pg_stat_activity WHERE backend_type = 'startup') AS started, "
        "(SELECT lpad(to_hex(received_tli), 8, '0') FROM pg_stat_wal_receiver) AS timeline, "
        "lpad(to_hex(CAST(pg_last_wal_replay_lsn() - '0/0' AS bigint)), 16, '0') AS replayed"
    ),
    ReplayedRow,
)


def by_server(seconds: int, found: list[bytes]) -> dict[str, str] | None:
    """The positions in a reply of Redis, servers and positions by turns, which Redis has kept for so many seconds.

    None where that is too short: it may have forgotten one that a replica lacks.
    """
    if seconds < KNOWN_SECONDS:
        return None
    texts = [text.decode() for text in found]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def timeline_of(position: str) -> str:
    return position[:TIMELINE_DIGITS]


def has_reached(position: str, needed: str) -> bool:
    """Whether who is at ``position`` has what was committed at ``needed``, "" for nothing."""
    return not needed or (timeline_of(position) == timeline_of(needed) and position >= needed)
