"""What a server says about where its rows came from, kept as the comment on its table ``users``.

No table of its own: the schema stays the app's. By it a second seed knows that the first is there, and
nothing that people wrote is ever replaced unasked.
"""

import datetime as dt
import json
from dataclasses import asdict, dataclass

import psycopg
from psycopg import sql

from conduit import ids

PREFIX = "dataset: "

_NEWER_ID = (
    "id >= (floor(extract(epoch FROM %(since)s::timestamptz) * 1000)::bigint "
    f"- {ids.EPOCH_MS}) << {ids.SHARD_BITS + ids.SEQUENCE_BITS}"
)

# Tables whose rows tell whether anybody wrote, and what tells a new row. What is not here changes only with
# these. Ids where they lead the primary key, as their index answers; times elsewhere.
_NEWER = {
    "users": _NEWER_ID,
    "articles": _NEWER_ID,
    "favorites": "created_at > %(since)s",
    "comments": "created_at > %(since)s",
    "follows": "created_at > %(since)s",
    "reports": _NEWER_ID,
}
COUNTED = tuple(_NEWER)
# What people may change without a new row. Not the counters, which move when others publish.
_USERS = "sum(hashtextextended(ROW(id, username, email, password_hash, bio, image)::text, 0))"
_COVERS = "sum(hashtextextended(ROW(id, cover_digest, cover_state)::text, 0)) FILTER (WHERE cover_digest IS NOT NULL)"


@dataclass(frozen=True)
class Seed:
    """A dataset of ours: its size, the version of what made it, and its rows over all servers.

    ``covers`` tells its set of covers from others; ``covered`` is the number of articles that have one.
    """

    size: str
    version: int
    rows: dict[str, int]
    covers: str
    covered: int


@dataclass(frozen=True)
class Marker:
    """What the last load put on this server.

    ``shards`` as ranges; ``at`` the time (ISO 8601) after which rows are others'; ``rows`` by table, of this
    server alone; ``users`` and ``covers`` checksums of what people may change in their profiles and of which
    article has which cover; ``seed`` None for an import of other data.
    """

    shards: str
    by: str
    at: str
    rows: dict[str, int]
    users: str
    covers: str
    seed: Seed | None


def read(connection: psycopg.Connection) -> Marker | None:
    """The server's marker; None when it has none or one that this version does not understand."""
    row = connection.execute("SELECT obj_description('users'::regclass, 'pg_class')").fetchone()
    text = row[0] if row else None
    if not text or not text.startswith(PREFIX):
        return None
    try:
        data = json.loads(text.removeprefix(PREFIX))
        seed = data.pop("seed")
        return Marker(**data, seed=Seed(**seed) if seed else None)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def write(connection: psycopg.Connection, marker: Marker) -> None:
    """Replaces the server's marker."""
    text = PREFIX + json.dumps(asdict(marker), sort_keys=True)
    connection.execute(sql.SQL("COMMENT ON TABLE users IS {}").format(sql.Literal(text)))


def take(connection: psycopg.Connection, shards: str, by: str, at: dt.datetime | None, seed: Seed | None) -> Marker:
    """The marker for what the server holds at this moment; ``at`` None means now."""
    rows = {table: _count(connection, table) for table in COUNTED}
    if at is None:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        at = row[0]
    return Marker(shards, by, at.isoformat(), rows, *_checksums(connection), seed)


def is_empty(connection: psycopg.Connection) -> bool:
    """Nobody has signed up here, and no name is taken."""
    row = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM usernames) "
        "AND NOT EXISTS (SELECT FROM emails)"
    ).fetchone()
    return row == (True,)


def written(connection: psycopg.Connection, since: str) -> tuple[int, dict[str, int]]:
    """Rows newer than ``since``, and how many of each table are not newer."""
    newer, older = 0, {}
    for table, condition in _NEWER.items():
        query = f"SELECT count(*), count(*) FILTER (WHERE {condition}) FROM {table}"  # noqa: S608 - ours
        row = connection.execute(query, {"since": since}).fetchone()
        assert row is not None
        newer += row[1]
        older[table] = row[0] - row[1]
    return newer, older


def untouched(connection: psycopg.Connection, marker: Marker) -> bool:
    """Whether the server holds what the marker's load put there and nothing else: none added, removed or edited."""
    newer, older = written(connection, marker.at)
    if newer or older != marker.rows:
        return False
    row = connection.execute("SELECT EXISTS (SELECT FROM articles WHERE updated_at > %s)", [marker.at]).fetchone()
    return row == (False,) and _checksums(connection) == (marker.users, marker.covers)


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    assert row is not None
    return int(row[0])


def _checksums(connection: psycopg.Connection) -> tuple[str, str]:
    """Of the users' profiles, and of the articles' covers."""
    row = connection.execute(
        f"SELECT (SELECT coalesce({_USERS}, 0)::text FROM users), "  # noqa: S608 - ours
        f"(SELECT coalesce({_COVERS}, 0)::text FROM articles)"
    ).fetchone()
    assert row is not None
    return str(row[0]), str(row[1])
