"""Database over one PostgreSQL server or several: a map places each logical shard on a server (``shard_map.py``)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import bindparam, select, text

from conduit.adapters.database_server import DatabaseServer
from conduit.adapters.scatter_gather import gather_some
from conduit.adapters.shard_map import FixedMap, ShardMap
from conduit.errors import UnavailableError
from conduit.events import Committed, Event
from conduit.ids import SHARDS, shard_of
from conduit.models import emails, usernames
from conduit.ports import Events, Found, Listener, Reader, Writer
from conduit.rows import IdRow
from conduit.statements import Statement


class _PingRow(NamedTuple):
    one: int


_PING = Statement("ping", text("SELECT 1 AS one"), _PingRow)
_BY_USERNAME = Statement(
    "user id by username",
    select(usernames.c.user_id.label("id")).where(usernames.c.username == bindparam("name")),
    IdRow,
)
_BY_EMAIL = Statement(
    "user id by e-mail", select(emails.c.user_id.label("id")).where(emails.c.email == bindparam("name")), IdRow
)


class PostgresDatabase:
    """``shard_map`` says which server holds a logical shard's rows; ``directory`` holds the names."""

    def __init__(
        self,
        shard_map: ShardMap,
        directory: DatabaseServer,
        events: Events,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._map = shard_map
        self._directory = directory
        self._events = events
        self._listeners = tuple(listeners)
        # With one server for rows and names, a name needs no separate lookup.
        self._in_place = Found(directory, None) if tuple(shard_map.servers) == (directory,) else None

    def open(self) -> None:
        for server in self._all():
            server.open()

    def close(self) -> None:
        for server in self._all():
            server.close()

    def _all(self) -> Sequence[DatabaseServer]:
        return tuple(dict.fromkeys([self._directory, *self._map.servers]))

    def reader(self, owner_id: int) -> Reader:
        return self._map.placed()[shard_of(owner_id)]

    def readers(self) -> Sequence[Reader]:
        return self._map.holders()

    def readers_of(self, owner_ids: Iterable[int]) -> list[tuple[Reader, list[int]]]:
        placed = self._map.placed()
        if len(self._map.servers) == 1:
            ids = list(owner_ids)
            return [(placed[0], ids)] if ids else []
        by_server: dict[DatabaseServer, list[int]] = {}
        for owner_id in owner_ids:
            by_server.setdefault(placed[shard_of(owner_id)], []).append(owner_id)
        return list(by_server.items())

    @contextmanager
    def writing(self, owner_id: int) -> Iterator[Writer]:
        with self._transaction(self._map.placed()[shard_of(owner_id)]) as writer:
            yield writer

    @contextmanager
    def directory(self) -> Iterator[Writer]:
        with self._transaction(self._directory) as writer:
            yield writer

    @contextmanager
    def _transaction(self, server: DatabaseServer) -> Iterator[Writer]:
        events: Sequence[Event] = ()
        try:
            with server.transaction() as writer:
                events = writer.events
                yield writer
                if writer.events:
                    self._events.record(writer, writer.events)
        except UnavailableError:
            # The commit may have succeeded and only its answer was lost; a needless invalidation does no harm.
            unsure = [replace(event, position=0) for event in events]
            self._notify(unsure)
            if unsure:
                server.when_known(lambda committed: self._notify(_committed(unsure, committed)))
            raise
        self._notify(_committed(events, writer.committed))
        if writer.committed is not None:
            server.remember(writer.committed)

    def _notify(self, events: Sequence[Event]) -> None:
        if events:
            for listener in self._listeners:
                listener(events)

    def find_username(self, username: str) -> Found | None:
        return self._in_place or self._look_up(_BY_USERNAME, username)

    def find_email(self, email: str) -> Found | None:
        return self._in_place or self._look_up(_BY_EMAIL, email)

    def _look_up(self, statement: Statement[IdRow], name: str) -> Found | None:
        row = self._directory.first(statement, name=name)
        return Found(self.reader(row.id), row.id) if row else None

    def ping(self) -> None:
        gather_some(self.readers(), lambda reader: reader.first(_PING))


def _committed(events: Sequence[Event], committed: Committed | None) -> Sequence[Event]:
    return [replace(event, committed=committed) for event in events] if committed else events


def one_server(server: DatabaseServer, events: Events, listeners: Sequence[Listener] = ()) -> PostgresDatabase:
    """All 64 logical shards and the names on one server: stages 1 to 4."""
    return PostgresDatabase(FixedMap([server] * SHARDS), server, events, listeners)
