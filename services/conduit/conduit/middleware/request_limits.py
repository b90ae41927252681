"""Middleware: limits the number of requests in flight, and the size and time of their bodies.

The limit guards the memory. A request beyond it takes the place of the one that has waited longest for a thread, which
is refused (threads.py): the newest can still be answered in time. Where none waits there, it is refused itself.
"""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit import metrics
from conduit.errors import OverloadedError, TooLargeError, TooSlowError
from conduit.routing.body import LARGE_BYTES, content_length, has_body
from conduit.routing.error_handlers import response_to

PROBES = ("/ready", "/health")
# Bodies below routing.body.LARGE_BYTES are not counted; so many of them may be arriving, 16 MiB in all.
MAX_ARRIVING = 1_024
# A body has so many seconds, and one more for each so many bytes that have come.
FIRST_SECONDS = 10.0
LEAST_BYTES_A_SECOND = 16 << 10
# Between two pieces of it: else whoever sends much at once and then nothing keeps its memory for all of that time.
PAUSE_SECONDS = 5.0


class RequestLimits:
    """At most ``max_in_flight`` requests are in flight; ``make_room`` ends one of them, if it can, for the next. A path
    that is ``exempt`` is never refused.

    A request does not count while it waits for its body, so that slow clients do not keep others out. A body may have
    ``max_body_bytes(path)`` bytes and take ``body_seconds`` from its first read, if it comes at a reasonable rate and
    without a pause of more than ``PAUSE_SECONDS`` after its first piece. All bodies together may have
    ``max_bytes_at_once`` bytes beyond the first ``LARGE_BYTES`` of each: a few large bodies do not keep out small ones.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_in_flight: int,
        make_room: Callable[[], bool],
        max_body_bytes: Callable[[str], int],
        max_bytes_at_once: int,
        body_seconds: float,
        exempt: Callable[[str], bool],
    ) -> None:
        self._max_in_flight = max_in_flight
        self._make_room = make_room
        self.max_body_bytes = max_body_bytes
        self.max_bytes_at_once = max_bytes_at_once
        self.body_seconds = body_seconds
        self.in_flight = 0
        self.arriving = 0
        self.large_bytes = 0
        self._app = app
        self._exempt = exempt
        metrics.IN_FLIGHT.set_function(lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self.has_room() and not self._is_exempt(scope["path"]):
            metrics.SHED.inc()
            await response_to(OverloadedError())(scope, receive, _closing(send) if has_body(scope) else send)
        elif has_body(scope):
            await _Body(self, scope, receive, send).pass_to(self._app)
        else:
            self.in_flight += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self.in_flight -= 1

    def has_room(self) -> bool:
        """Whether one more may be in flight. Then its place is free, or is about to be."""
        return self.in_flight < self._max_in_flight or self._make_room()

    def _is_exempt(self, path: str) -> bool:
        return path in PROBES or self._exempt(path)  # an overloaded box is still healthy


class _Body:
    """A request whose body is being received. ``receive`` raises TooLargeError, TooSlowError and OverloadedError."""

    def __init__(self, limits: RequestLimits, scope: Scope, receive: Receive, send: Send) -> None:
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most = limits.max_body_bytes(scope["path"])
        self._began: float | None = None
        self._bytes = 0
        self._is_complete = False
        self._is_counted = True
        limits.in_flight += 1

    async def pass_to(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        finally:
            self._limits.large_bytes -= max(0, self._bytes - LARGE_BYTES)
            if self._is_counted:
                self._limits.in_flight -= 1
            elif self._began is not None:
                self._limits.arriving -= 1

    async def send(self, message: Message) -> None:
        if self._is_complete:
            await self._send(message)
        else:
            # Else the server would read the rest of the body, however long it takes, only to discard it.
            await _closing(self._send)(message)

    async def receive(self) -> Message:
        if self._is_complete:  # only a disconnect can follow
            return await self._receive()
        if (content_length(self._scope) or 0) > self._most:
            raise TooLargeError(self._most)
        now = asyncio.get_running_loop().time()
        began = self._wait(now) if self._began is None else self._began
        seconds = min(self._limits.body_seconds, FIRST_SECONDS + self._bytes // LEAST_BYTES_A_SECOND)
        until = began + seconds
        if self._bytes and now + PAUSE_SECONDS < until:
            seconds, until = PAUSE_SECONDS, now + PAUSE_SECONDS
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError as error:
            raise TooSlowError(seconds) from error
        self._take(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self._count()
        return message

    def _wait(self, now: float) -> float:
        """When that began: ``now``."""
        if self._limits.arriving >= MAX_ARRIVING:
            _shed()
        self._began = now
        self._limits.arriving += 1
        self._limits.in_flight -= 1
        self._is_counted = False
        return now

    def _take(self, count: int) -> None:
        large_before = max(0, self._bytes - LARGE_BYTES)
        self._bytes += count
        large = max(0, self._bytes - LARGE_BYTES)
        self._limits.large_bytes += large - large_before
        if self._bytes > self._most:
            raise TooLargeError(self._most)
        if large and self._limits.large_bytes > self._limits.max_bytes_at_once:
            _shed()

    def _count(self) -> None:
        self._is_complete = True
        if not self._limits.has_room():
            _shed()
        self._limits.arriving -= 1
        self._limits.in_flight += 1
        self._is_counted = True


def _closing(send: Send) -> Send:
    """End the connection with the answer."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [header for header in message["headers"] if header[0].lower() != b"connection"]
            message["headers"] = [*headers, (b"connection", b"close")]
        await send(message)

    return send_closing


def _shed() -> NoReturn:
    metrics.SHED.inc()
    raise OverloadedError
