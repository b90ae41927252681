"""One PostgreSQL server: its connection pool and timeouts, with driver errors translated to the app's.

A database that hangs is worse than one that is down, because every thread waits for it. So nothing here waits long:
the pool opens connections in the background, never inside a request. A call without an answer within
``ANSWER_SECONDS`` is abandoned and its connection closed. From then until the server answers again, a request that
finds no free connection is refused at once.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any, Literal

import psycopg
from psycopg import errors as pg
from psycopg_pool import ConnectionPool, PoolTimeout

from conduit import metrics
from conduit.adapters.positions import FLUSHED_SQL
from conduit.adapters.postgres_times import TimeLoader
from conduit.errors import ConflictError, DuplicateError, InvalidError, MissingOwnerError, SlowError, UnavailableError
from conduit.events import Committed, Event
from conduit.postgres_hosts import Hosts
from conduit.statements import Row, Statement
from conduit.timing import tally

log = logging.getLogger(__name__)

Ask = Callable[[Statement[Any]], list[Any]]

# A little longer than statement_timeout below: the server cancels a slow statement itself, and the connection stays.
# Only if the server does not answer at all is the connection closed.
ANSWER_SECONDS = 1.5
CHECKOUT_SECONDS = 1.0
ASK_AGAIN_SECONDS = 0.3
CANCEL_SECONDS = 0.5
# One plan for each statement and connection: the statements are written so that one plan fits every parameter. By
# default PostgreSQL would plan the lists again for every request (docs/decisions/0001-the-app-s-stack.md).
SERVER_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=1300 -c idle_in_transaction_session_timeout=10000 "
    "-c plan_cache_mode=force_generic_plan"
)

# To psycopg these are errors of a program. The server ended the transaction, or it takes no writes: it is a standby, or
# somebody set it so. Another connection may reach one that does.
_NO_MORE_USE = (pg.IdleInTransactionSessionTimeout, pg.TransactionTimeout, pg.ReadOnlySqlTransaction)


class _Connection(psycopg.Connection[Any]):
    """A connection on which no wait outlasts the timeout, whatever state the server is in.

    All its statements go through one cursor, ``asking``: making a cursor for each takes long beside a short query.
    """

    asking: psycopg.Cursor[Any]

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval=interval, timeout=timeout or ANSWER_SECONDS)


class PostgresServer:
    """A named server and a pool of at most ``pool_size`` connections to it; where its URL names several hosts, to its
    primary, or to a standby where that is ``wanted``.
    """

    def __init__(
        self, name: str, url: str, pool_size: int, wanted: Literal["read-write", "standby"] = "read-write"
    ) -> None:
        self.server = name
        self._hung = False
        self._is_standby = wanted == "standby"
        self._met: Callable[[Ask], None] | None = None
        self._hosts = Hosts(url, wanted)
        self._pool = ConnectionPool(
            self._hosts.conninfo,
            connection_class=_Connection,
            kwargs={
                "autocommit": True,
                "application_name": "conduit",
                "connect_timeout": 2,
                "tcp_user_timeout": 2000,
                "options": SERVER_OPTIONS,
            },
            configure=self._connected,
            min_size=1,
            max_size=pool_size,
            timeout=CHECKOUT_SECONDS,
            max_idle=60.0,
            # The pool soon stops reconnecting, and the next request restarts it: its backoff would outlast an outage.
            reconnect_timeout=1.0,
            num_workers=2,
            name=name,
            open=False,
        )
        self._read_seconds = metrics.QUERIES.labels(name, "read")
        self._write_seconds = metrics.QUERIES.labels(name, "write")
        self._checkout_seconds = metrics.CHECKOUTS.labels(name)
        self._unanswered = metrics.DATABASE_ERRORS.labels(name, "unavailable")
        self._conflicts = metrics.DATABASE_ERRORS.labels(name, "conflict")

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close(timeout=2.0)

    def forget_connections(self) -> None:
        """Close those that there are: what they are connected to is no longer what is wanted."""
        self._pool.drain()

    def call_when_met(self, met: Callable[[Ask], None]) -> None:
        """Have each new connection asked first, by what ``met`` is called with; before it is used."""
        self._met = met

    def _connected(self, connection: _Connection) -> None:
        connection.adapters.register_loader("timestamptz", TimeLoader)
        connection.asking = connection.cursor(binary=True)
        if self._met is not None:
            self._met(lambda statement: self._execute(connection, statement, {}).fetchall())
        if self._hosts.found(connection.info.host, connection.info.port) and self._hosts.are_several:
            # What else is in the pool is to the former one. Not this one: its time of creation is later.
            self.forget_connections()
        self._hung = False

    def _checkout(self) -> _Connection:
        started = perf_counter()
        try:
            return self._pool.getconn(timeout=0.01 if self._hung else CHECKOUT_SECONDS)
        except PoolTimeout as error:
            self._hung = True
            self._unanswered.inc()
            raise UnavailableError("the database") from error
        finally:
            self._checkout_seconds.observe(perf_counter() - started)

    def _execute(
        self, connection: _Connection, statement: Statement[Row], parameters: dict[str, Any]
    ) -> psycopg.Cursor[Row]:
        if statement.literals:
            parameters = {**statement.literals, **parameters}
        cursor = connection.asking
        cursor.row_factory = statement.row_factory
        try:
            cursor.execute(statement.sql, parameters)
        except psycopg.Error as error:
            raise self._translated(error, connection) from error
        self._hung = False
        return cursor

    def _translated(self, error: psycopg.Error, connection: _Connection) -> Exception:
        if error.sqlstate is not None:
            self._hung = False
        if isinstance(error, pg.UniqueViolation):
            return DuplicateError(error.diag.constraint_name or "")
        if isinstance(error, pg.ForeignKeyViolation):
            return MissingOwnerError(error.diag.constraint_name or "")
        if isinstance(error, psycopg.DataError):
            # PostgreSQL rejects some values that validation accepts, such as a NUL in a text.
            return InvalidError({"body": ["has a character or a number that can't be stored"]})
        if isinstance(error, (pg.DeadlockDetected, pg.SerializationFailure)):
            self._conflicts.inc()
            log.warning("a transaction was rolled back", extra={"server": self.server, "cause": str(error)})
            return ConflictError()
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, *_NO_MORE_USE)):
            if isinstance(error, pg._WaitTimeout):  # private, and the only name it has
                self._hung = True
            if isinstance(error, (pg._WaitTimeout, *_NO_MORE_USE)):
                connection.close()
            if isinstance(error, pg.ReadOnlySqlTransaction) and self._hosts.are_several:
                # This host is a replica by now, and all of the pool's connections are to it.
                self.forget_connections()
            self._unanswered.inc()
            log.warning("the database does not answer", extra={"server": self.server, "cause": str(error)})
            return (SlowError if isinstance(error, pg.QueryCanceled) else UnavailableError)("the database")
        return error

    # Reading ------------------------------------------------------------------------------------------------

    def all(self, statement: Statement[Row], **parameters: Any) -> list[Row]:
        started = perf_counter()
        while True:
            connection = self._checkout()
            began = perf_counter()
            try:
                return self._execute(connection, statement, parameters).fetchall()
            except UnavailableError:
                over = perf_counter() - started > ASK_AGAIN_SECONDS
                if self._hung or not connection.closed or over or self._is_standby:
                    raise
                # The server was restarted, and this connection was still in the pool. The others there may be closed
                # too. A read is safe to retry, but not on a standby: who asked one knew where it was, and no more.
            finally:
                self._pool.putconn(connection)
                self._count(perf_counter() - began, self._read_seconds)

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def _count(self, seconds: float, histogram: Any) -> None:
        histogram.observe(seconds)
        if (request := tally.get()) is not None:
            request.add_query(self.server, seconds)

    # Writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator["PostgresTransaction"]:
        """A transaction that commits when the block ends and rolls back when it raises."""
        connection = self._begin()
        try:
            writer = PostgresTransaction(self, connection)
            try:
                yield writer
            except BaseException:
                with suppress(psycopg.Error):  # the first error is the one to tell
                    connection.rollback()
                raise
            writer.committed = self._commit(connection)
        except psycopg.Error as error:
            raise self._translated(error, connection) from error
        finally:
            self._pool.putconn(connection)

    def _begin(self) -> _Connection:
        """A connection with an open transaction. Retried like a read: nothing has changed yet."""
        started = perf_counter()
        while True:
            connection = self._checkout()
            try:
                connection.asking.execute("BEGIN")
            except psycopg.Error as error:
                self._pool.putconn(connection)
                failure = self._translated(error, connection)
                if self._hung or not connection.closed or perf_counter() - started > ASK_AGAIN_SECONDS:
                    raise failure from error
            else:
                return connection

    def _commit(self, connection: _Connection) -> Committed | None:
        """Where the commit is in the log; None for a server of one host, where nobody has to know.

        The position is asked for behind the commit, or it would be too low, and in one message with it.
        """
        if not self._hosts.are_several:
            connection.commit()
            return None
        try:
            told = connection.execute(f"COMMIT; {FLUSHED_SQL}")
        except pg._WaitTimeout:
            # It may be waiting for a synchronous replica, which no timeout of the server's ends. Meanwhile it holds its
            # locks, and nobody sees it. Canceled, it is done, on this server alone; nobody is told that it is safe.
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=CANCEL_SECONDS)
            raise
        told.nextset()
        (position,) = told.fetchone()  # type: ignore[misc]  # the statement always gives a row
        return Committed(self.server, position)

    def remember(self, committed: Committed) -> None:
        """Without a replica that is asked there is nothing to be kept in mind."""

    def when_known(self, then: Callable[[Committed], None]) -> None:
        """Nobody has to know the position of a server without replicas."""

    def _execute_in(
        self, connection: _Connection, statement: Statement[Row], parameters: dict[str, Any]
    ) -> psycopg.Cursor[Row]:
        started = perf_counter()
        try:
            return self._execute(connection, statement, parameters)
        finally:
            self._count(perf_counter() - started, self._write_seconds)


class PostgresTransaction:
    """The Writer of one open transaction. After it ``committed`` says where, if the server has replicas."""

    def __init__(self, server: PostgresServer, connection: _Connection) -> None:
        self.server = server.server
        self.events: list[Event] = []
        self.committed: Committed | None = None
        self._postgres = server
        self._connection = connection

    def all(self, statement: Statement[Row], **parameters: Any) -> list[Row]:
        cursor = self._postgres._execute_in(self._connection, statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def record(self, event: Event) -> None:
        self.events.append(event)
