"""Filling one server in one transaction, so that an interruption leaves what was there.

Indexes and keys are dropped and made again from the catalogue's own definitions: to sort once costs PostgreSQL less
than a third of inserting into every index row by row (10,000 users: 6 s of CPU against 20 s, indexes and keys
included). Rows are copied with FREEZE into tables emptied in the same transaction: they are visible to all and marked
so on their pages, so that nobody rewrites them later. A VACUUM after the commit has only the few pages left to look at
that COPY did not fill, and makes every page known as visible from the first read on. Statistics and a checkpoint end
it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from conduit.models import DIRECTORY_TABLES, OWNED_TABLES
from data.loading import binary, marker
from data.loading.failures import Refused, explained
from data.loading.marker import Marker
from data.loading.placement import Server
from data.loading.progress import Reporter

DIRECTORY = tuple(table.name for table in DIRECTORY_TABLES)
OWNED = tuple(table.name for table in OWNED_TABLES)
TABLES = DIRECTORY + OWNED

_ADVISORY_LOCK = 0x5EED
_BUFFER_BYTES = 1 << 18
# A box has 256 MB, at stage 1 shared with the app; a second worker would take the memory again and has no CPU
# to use.
_SETTINGS: tuple[LiteralString, ...] = (
    "SET LOCAL lock_timeout = '10s'",
    "SET LOCAL maintenance_work_mem = '32MB'",
    "SET LOCAL max_parallel_maintenance_workers = 0",
    "SET LOCAL client_min_messages = warning",
)
_KEYS = """
    SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('p', 'u', 'f')
      AND (conrelid = ANY(%(tables)s::regclass[]) OR confrelid = ANY(%(tables)s::regclass[]))
    ORDER BY contype = 'f', conrelid, conname
"""
_INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = ANY(%(tables)s::regclass[])
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    ORDER BY indrelid, indexrelid
"""


class Sink:
    """Gathers rows of one COPY, so that a row costs no call into the driver."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._buffer = bytearray(binary.HEADER)

    def write(self, rows: bytes) -> None:
        """Rows in the binary COPY format."""
        self._buffer += rows
        if len(self._buffer) >= _BUFFER_BYTES:
            self._copy.write(self._buffer)
            self._buffer = bytearray()

    def close(self) -> None:
        """Sends what is left."""
        self._copy.write(bytes(self._buffer) + binary.TRAILER)


class Target:
    """One server to be filled; all of it in one transaction, which ``commit`` ends."""

    def __init__(self, server: Server) -> None:
        """Connects and makes sure that nobody else is filling this server. Raises Refused."""
        self.server = server
        self.connection = server.connect()
        self._keys: list[tuple[str, str, str, str]] = []
        self._indexes: list[tuple[str, str]] = []
        with explained(server.label):
            for setting in _SETTINGS:
                self.connection.execute(setting)
            locked = self.connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ADVISORY_LOCK]).fetchone()
            if locked != (True,):
                raise Refused(f"{server.label}: another seed or import is filling it; wait until that has ended.")
            self.connection.execute("SELECT FROM users LIMIT 0")

    def close(self) -> None:
        """Undoes what was not committed."""
        self.connection.close()

    def lock(self) -> None:
        """Keeps everybody else from all tables until the end: what is looked at from now on stays so."""
        tables = sql.SQL(", ").join(map(sql.Identifier, TABLES))
        with explained(self.server.label):
            self.connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))

    def clear(self) -> None:
        """Empties all tables and takes their indexes and keys off."""
        tables = sql.SQL(", ").join(map(sql.Identifier, TABLES))
        with explained(self.server.label):
            self._keys = self._definitions(_KEYS)
            self._indexes = self._definitions(_INDEXES)
            self.connection.execute(sql.SQL("TRUNCATE {}").format(tables))
            for table, name, _, _ in reversed(self._keys):
                # The catalogue quotes a table's name itself where it needs to be.
                drop = f"ALTER TABLE {table} DROP CONSTRAINT {{}}"
                self.connection.execute(sql.SQL(drop).format(sql.Identifier(name)))
            for name, _ in self._indexes:
                self.connection.execute(f"DROP INDEX {name}")

    @contextlib.contextmanager
    def copying(self, table: str, columns: Sequence[str]) -> Iterator[psycopg.Copy]:
        """A COPY of binary rows into a table, header and trailer included."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary, FREEZE)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with explained(self.server.label), self.connection.cursor().copy(statement) as copy:
            yield copy

    @contextlib.contextmanager
    def sink(self, table: str, columns: Sequence[str]) -> Iterator[Sink]:
        """A Sink of binary rows without header and trailer."""
        with self.copying(table, columns) as copy:
            sink = Sink(copy)
            yield sink
            sink.close()

    def restore(self, reporter: Reporter) -> None:
        """Makes indexes and keys again, as they were."""
        with explained(self.server.label):
            made = [
                *(("key", table, name, text) for table, name, kind, text in self._keys if kind != "f"),
                *(("index", "", name, text) for name, text in self._indexes),
                *(("key", table, name, text) for table, name, kind, text in self._keys if kind == "f"),
            ]
            reporter.step(f"indexes and keys of {self.server.label}", len(made), "definitions")
            for what, table, name, text in made:
                if what == "key":
                    add = f"ALTER TABLE {table} ADD CONSTRAINT {{}} {text}"
                    self.connection.execute(sql.SQL(add).format(sql.Identifier(name)))
                else:
                    self.connection.execute(text)
                reporter.advance(1)

    def mark(self, mark: Marker) -> None:
        """Writes down what was loaded."""
        with explained(self.server.label):
            marker.write(self.connection, mark)

    def commit(self) -> None:
        """Makes it all visible."""
        with explained(self.server.label):
            self.connection.commit()

    def settle(self, reporter: Reporter) -> None:
        """Does at once what PostgreSQL would do by itself in the minutes after the commit: those are when somebody
        measures. Interrupted, it only leaves that to PostgreSQL.
        """
        with explained(self.server.label), contextlib.suppress(KeyboardInterrupt):
            self.connection.autocommit = True
            reporter.step(f"statistics of {self.server.label}")
            for table in TABLES:
                # Not in the transaction: rows count as changed since the last statistics from its commit on.
                self.connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
            reporter.step(f"checkpoint of {self.server.label}")
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):  # an ordinary user's right in few places
                self.connection.execute("CHECKPOINT")

    def _definitions(self, query: LiteralString) -> list[Any]:
        return self.connection.execute(query, {"tables": list(TABLES)}).fetchall()
