"""One Redis server: its connections, how long they are waited for, and what is done when it does not answer.

A request waits for Redis no longer than ``REQUEST_SECONDS`` in all, but for the little that a call may wait in any
case, since whatever it wants there can be had elsewhere. No address is looked up in a request: of a box that is gone,
the DNS may take seconds to know nothing. When Redis does not answer, it is given up for all requests, and looked for
beside them until it is back.

The protocol is spoken here (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/), the few kinds of
replies that are used. A look that costs what the query costs that it spares is no help to a small box, and it did with
redis-py.
"""

import hashlib
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from threading import Event as Signal
from threading import Lock, Thread
from time import perf_counter
from urllib.parse import urlsplit

from conduit import metrics
from conduit.errors import UnavailableError
from conduit.timing import tally

log = logging.getLogger(__name__)

Reply = bytes | int | list["Reply"] | None

REQUEST_SECONDS = 0.04
# Not worth beginning: with less of them left, a box that waits for its CPU would take every answer for late.
LEAST_SECONDS = 0.005
# A saturated box stands still for up to 30 ms at a time. One late answer is no outage; three with none between are.
LATE_ANSWERS = 3
FIRST_LOOK_SECONDS = 1.0  # that the start waits until the server is found
PAUSE_SECONDS = 0.2  # between two looks for one that does not answer
IDLE_CONNECTIONS = 32  # that are kept
_BYTES = 65_536


class RefusedError(Exception):
    """Redis answered that it won't."""


class Script:
    """Lua that Redis runs as one step. It is sent once, and named by its digest from then on."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


class RedisServer:
    """A server at ``redis://host:port/database``, with the scripts that are run there.

    ``before_use`` is called with a way to ask each time the server was found, before any request may use it; it raises
    what asking raises.
    """

    def __init__(
        self,
        url: str,
        scripts: Sequence[Script],
        before_use: Callable[[Callable[[bytes], Reply]], None] = lambda _ask: None,
    ) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.hostname}:{parts.port or 6379}"
        self._host, self._port = parts.hostname or "", parts.port or 6379
        self._database = int(parts.path.strip("/") or 0)
        self._scripts = scripts
        self._before_use = before_use
        self._address: tuple[str, int] = ("", 0)
        self._idle: list[_Connection] = []
        self._late = 0
        self._lock = Lock()
        self._found = Signal()
        self._looking = False
        self._given_up = 0
        self._closed = False
        self._errors = metrics.REDIS_ERRORS.labels(self.name)

    @property
    def is_there(self) -> bool:
        """Whether requests may ask it."""
        return self._found.is_set()

    def open(self) -> None:
        """Look for it; returns when it is found, or not soon."""
        self.give_up("not looked for yet")
        self._found.wait(FIRST_LOOK_SECONDS)

    def close(self) -> None:
        self._closed = True
        self._found.clear()
        self._drop_idle()

    # Asking -------------------------------------------------------------------------------------------------

    def run(
        self,
        script: Script,
        *arguments: bytes,
        keys: Sequence[bytes] = (),
        least: float = 0.0,
        must: bool = False,
    ) -> Reply:
        """What the script returns. Raises UnavailableError when that takes longer than this request may wait.

        It may wait ``least`` seconds at the least, however long it has waited before. ``must``: without an answer the
        server is given up.
        """
        command = packed(b"EVALSHA", script.digest, b"%d" % len(keys), *keys, *arguments)
        try:
            try:
                return self._ask(command, least, must)
            except RefusedError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                return self._ask(evaluated(script, *arguments, keys=keys), least, must)
        except RefusedError as error:
            self._errors.inc()
            log.warning("Redis refuses", extra={"server": self.name, "cause": str(error)})
            raise UnavailableError("Redis") from error

    def _ask(self, command: bytes, least: float, must: bool) -> Reply:
        request = tally.get()
        left = REQUEST_SECONDS
        if request is not None:
            left = max(left - request.redis_seconds, least)
        if left < LEAST_SECONDS or not self._found.is_set():
            raise UnavailableError("Redis")
        started = perf_counter()
        try:
            reply = self._asked(command, left)
        except OSError as error:
            self._errors.inc()
            self._late += 1
            if must or self._late >= LATE_ANSWERS or not _is_late(error):
                self.give_up(error)
            raise UnavailableError("Redis") from error
        finally:
            if request is not None:
                request.redis_seconds += perf_counter() - started
        self._late = 0
        if isinstance(reply, RefusedError):
            raise reply
        return reply

    def _asked(self, command: bytes, seconds: float) -> "Reply | RefusedError":
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._asked_anew(command, seconds)
        try:
            return self._answered(connection, command, seconds)
        except OSError as error:
            if _is_late(error):
                raise
        # Redis was started anew since: the others that wait here are as dead.
        self._drop_idle()
        return self._asked_anew(command, seconds)

    def _asked_anew(self, command: bytes, seconds: float) -> "Reply | RefusedError":
        started = perf_counter()
        connection = _Connection(self._address, self._database, seconds)
        return self._answered(connection, command, max(LEAST_SECONDS, seconds - (perf_counter() - started)))

    def _answered(self, connection: "_Connection", command: bytes, seconds: float) -> "Reply | RefusedError":
        try:
            reply = connection.ask(command, seconds)
        except BaseException:
            # An answer may still come, and must not be taken for that to another question.
            connection.close()
            raise
        if len(self._idle) < IDLE_CONNECTIONS and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # Giving up, and coming back -----------------------------------------------------------------------------

    def give_up(self, cause: object) -> None:
        """Ask it nothing more until it was found again."""
        with self._lock:
            was_there = self._found.is_set()
            self._found.clear()
            self._given_up += 1
            if not self._looking and not self._closed:
                self._looking = True
                Thread(target=self._look, name="redis-look", daemon=True).start()
        if was_there:
            self._drop_idle()
            log.warning("Redis does not answer", extra={"server": self.name, "cause": repr(cause)})

    def _look(self) -> None:
        while not self._closed:
            try:
                address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][4]
                self._address = str(address[0]), int(address[1])
                connection = _Connection(self._address, self._database, REQUEST_SECONDS)
                self._make_ready(connection)
            except (OSError, RefusedError):
                time.sleep(PAUSE_SECONDS)
            else:
                self._idle.append(connection)
                return

    def _make_ready(self, connection: "_Connection") -> None:
        def ask(command: bytes) -> Reply:
            reply = connection.ask(command, REQUEST_SECONDS)
            if isinstance(reply, RefusedError):
                raise reply
            return reply

        try:
            for script in self._scripts:
                ask(packed(b"SCRIPT", b"LOAD", script.source))
            while not self._is_found(ask):
                pass
        except BaseException:
            connection.close()
            raise

    def _is_found(self, ask: Callable[[bytes], Reply]) -> bool:
        """Whether nobody gave it up again while it was made ready: then there is more to be told."""
        given_up = self._given_up
        self._before_use(ask)
        with self._lock:
            if self._given_up != given_up:
                return False
            self._late = 0
            self._looking = False
            self._found.set()
            return True


def packed(*words: bytes) -> bytes:
    """A command as it goes over the wire: https://redis.io/docs/latest/develop/reference/protocol-spec/."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def evaluated(script: Script, *arguments: bytes, keys: Sequence[bytes] = ()) -> bytes:
    """The command that runs a script whether the server has it or not."""
    return packed(b"EVAL", script.source, b"%d" % len(keys), *keys, *arguments)


def _is_late(error: OSError) -> bool:
    return isinstance(error, TimeoutError)


class _Connection:
    """A connection whose socket gives up by itself: the kernel's own timeouts save a poll before every call."""

    def __init__(self, address: tuple[str, int], database: int, seconds: float) -> None:
        self._socket = socket.create_connection(address, seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)
        self._seconds = 0.0
        self._data = b""
        self._at = 0
        if database:
            try:
                self.ask(packed(b"SELECT", b"%d" % database), seconds)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: bytes, seconds: float) -> "Reply | RefusedError":
        """The reply. Raises TimeoutError after about so many seconds, other OSErrors where the connection is gone."""
        if abs(seconds - self._seconds) > LEAST_SECONDS:
            wait = struct.pack("ll", 0, int(seconds * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            self._seconds = seconds
        self._data, self._at = b"", 0
        self._until = perf_counter() + seconds
        try:
            self._socket.sendall(command)
            self._receive()
            return self._reply()
        except BlockingIOError as error:
            raise TimeoutError(f"no answer within {seconds * 1000:.0f} ms") from error

    def _receive(self) -> None:
        received = self._socket.recv(_BYTES)
        if not received:
            raise ConnectionResetError("closed by the server")
        self._data = self._data[self._at :] + received
        self._at = 0

    def _more(self) -> None:
        if perf_counter() > self._until:
            raise TimeoutError("the answer did not end in time")
        self._receive()

    def _reply(self) -> "Reply | RefusedError":
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        if kind == b"-":
            return RefusedError(rest.decode())
        if kind == b"*":
            return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]  # type: ignore[misc]
        raise ConnectionResetError(f"no reply begins so: {line[:20]!r}")

    def _line(self) -> bytes:
        while (end := self._data.find(b"\r\n", self._at)) < 0:
            self._more()
        line = self._data[self._at : end]
        self._at = end + 2
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._data) - self._at < count + 2:
            self._more()
        value = self._data[self._at : self._at + count]
        self._at += count + 2
        return value
