"""Connections to one Redis server, made and kept so that no request waits beyond its deadline, or has to connect."""

import socket
import struct
import threading
from time import monotonic
from typing import Any

from hiredis import pack_command
from redis import Connection, ConnectionPool
from redis.connection import ConnectionInterface
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

CALL_SECONDS = 0.03
# With less time left, a call is not begun: a box that waits for its CPU would take every answer for late.
LEAST_SECONDS = 0.005
FILL_PAUSE_SECONDS = 0.2

NEVER = float("inf")
_CALL_TIMEVAL = struct.pack("@ll", 0, int(CALL_SECONDS * 1_000_000))


class Deadline(threading.local):
    """When the calls of this thread must have ended, on time.monotonic's clock."""

    at = NEVER

    def seconds_left(self) -> float:
        # A socket takes 0 for "do not block at all".
        return max(0.001, min(CALL_SECONDS, self.at - monotonic()))


class BoundedConnection(Connection):
    """A connection that waits for nothing beyond its thread's deadline.

    The kernel counts CALL_SECONDS. A timeout of Python's own takes one system call more for each that reads or writes,
    and each lets another thread have the interpreter.
    """

    def __init__(self, *, deadline: Deadline, **options: Any) -> None:
        self._deadline = deadline
        super().__init__(**options)  # type: ignore[no-untyped-call]

    @property  # type: ignore[misc]  # redis-py's has a setter, which only maintenance notifications use
    def socket_connect_timeout(self) -> float:
        return self._deadline.seconds_left()

    def _connect(self) -> socket.socket:
        connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, direction, _CALL_TIMEVAL)
        return connected

    def send_packed_command(self, *args: Any, **options: Any) -> None:
        try:
            super().send_packed_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisConnectionError as error:
            raise _of_its_kind(error) from error.__context__

    def read_response(self, *args: Any, **options: Any) -> Any:
        left = self._deadline.seconds_left()
        if left < CALL_SECONDS - LEAST_SECONDS:  # else the kernel's will do, and costs no system call
            options["timeout"] = left
        try:
            return super().read_response(*args, **options)
        except RedisConnectionError as error:
            raise _of_its_kind(error) from error.__context__


def _of_its_kind(error: RedisConnectionError) -> RedisError:
    """A TimeoutError where the kernel's time was over: redis-py takes that for an error of the connection."""
    return RedisTimeoutError("late") if isinstance(error.__context__, BlockingIOError) else error


class LastUsedPool(ConnectionPool):
    """Gives out the connection that was used last, unchecked: where Redis has closed it, the call is retried.

    It keeps ``spare`` connections, so that no request has to connect: in a burst that takes a busy box longer than a
    request may wait for Redis. Of 250 requests for a key that had expired, up to 15 then asked the database.
    """

    def __init__(self, *, spare: int, **options: Any) -> None:
        self._spare = spare
        self._idle: list[Connection] = []
        self._reset_at = 0.0
        self._is_short = False  # there may be fewer than ``spare``
        self._fill_at = 0.0  # not before this: Redis may refuse more connections
        super().__init__(**options)

    def reset(self, *, unless_after: float = NEVER) -> None:
        """Close the connections that no call uses, unless that was done after this time, on time.monotonic's clock."""
        if self._reset_at > unless_after:
            return
        self._reset_at = monotonic()
        super().reset()
        idle, self._idle = self._idle, []
        self._is_short = True
        for connection in idle:
            connection.disconnect()  # type: ignore[no-untyped-call]

    def connect_to(self, address: str) -> bool:
        """Use this address from now on. Whether there were connections to it, which are kept.

        Raises RedisError when it can't be connected to.
        """
        if self.connection_kwargs["host"] != address:
            self.connection_kwargs["host"] = address
            self.reset()
        has_others = bool(self._idle)
        self._connect()
        return has_others

    @property
    def needs_filling(self) -> bool:
        """Whether ``fill`` may have something to do, and has not failed just now."""
        return self._is_short and monotonic() >= self._fill_at

    def postpone_filling(self) -> None:
        """For a moment, unless ``fill`` succeeds before."""
        self._fill_at = monotonic() + FILL_PAUSE_SECONDS

    def fill(self) -> None:
        """Connect until ``spare`` connections are idle. Raises RedisError."""
        self._is_short = False
        try:
            while len(self._idle) < self._spare:
                self._connect()
        except BaseException:
            self._is_short = True
            self.postpone_filling()
            raise
        self._fill_at = 0.0

    def execute(self, *command: bytes | str | int) -> Any:
        """What Redis answers to a command. Raises RedisError.

        Without what the client's ``execute_command`` does around each (retries, callbacks, metrics), which takes longer
        than the command itself: docs/decisions/0003-the-cache.md has the figures.
        """
        connection = self.get_connection()
        try:
            packed = pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one only
            connection.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]
            return connection.read_response()
        finally:
            self.release(connection)

    def _connect(self) -> None:
        connection: Connection = self.connection_class(**self.connection_kwargs)
        connection.connect()  # type: ignore[no-untyped-call]
        self.release(connection)

    def get_connection(self, *_args: Any, **_options: Any) -> Connection:
        try:
            return self._idle.pop()  # atomic, so no lock
        except IndexError:
            connection: Connection = self.connection_class(**self.connection_kwargs)
            return connection

    def release(self, connection: ConnectionInterface) -> None:
        assert isinstance(connection, Connection), "from get_connection"
        if not connection.is_connected:  # an answer was late
            self._is_short = True
        elif connection.host == self.connection_kwargs["host"] and len(self._idle) < self._spare:
            self._idle.append(connection)
        else:
            connection.disconnect()  # type: ignore[no-untyped-call]
