"""Middleware: limits the number of requests in flight, and the size and time of their bodies.

A request beyond the limit is refused at once (load shedding): that is cheap, and the others are answered in time.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit import metrics
from conduit.errors import OverloadedError, TooLargeError, TooSlowError
from conduit.routing.error_handlers import response_to

PROBES = ("/ready", "/health")


class RequestLimits:
    """At most ``max_in_flight`` requests are in flight. A path that is ``exempt`` is never refused.

    A request counts once its body is complete, so that slow clients do not keep others out. A body may have
    ``max_body_bytes(path)`` bytes and take ``body_seconds`` from its first read. All bodies together may have
    ``max_bytes_at_once`` bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_in_flight: int,
        max_body_bytes: Callable[[str], int],
        max_bytes_at_once: int,
        body_seconds: float,
        exempt: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._max_in_flight = max_in_flight
        self._max_body_bytes = max_body_bytes
        self._max_bytes_at_once = max_bytes_at_once
        self._body_seconds = body_seconds
        self._exempt = exempt
        self._in_flight = 0
        self._bytes = 0
        metrics.IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in PROBES or self._exempt(scope["path"]):
            # An overloaded box is still healthy.
            await self._counted(scope, receive, send)
        elif self._in_flight >= self._max_in_flight:
            metrics.SHED.inc()
            await response_to(OverloadedError())(scope, receive, send)
        elif _has_body(scope):
            await self._counted_once_complete(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _counted_once_complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self, scope, receive)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.end()


class _Body:
    """A body that is being received. ``receive`` raises TooLargeError, TooSlowError and OverloadedError."""

    def __init__(self, limits: RequestLimits, scope: Scope, receive: Receive) -> None:
        self._limits = limits
        self._receive = receive
        self._most = limits._max_body_bytes(scope["path"])
        self._declared = _content_length(scope)
        self._deadline: float | None = None
        self._bytes = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # only a disconnect can follow
            return await self._receive()
        if self._declared > self._most:
            raise TooLargeError(self._most)
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limits._body_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise TooSlowError(self._limits._body_seconds) from error
        self._take(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self._count()
        return message

    def _take(self, count: int) -> None:
        self._bytes += count
        self._limits._bytes += count
        if self._bytes > self._most:
            raise TooLargeError(self._most)
        if self._limits._bytes > self._limits._max_bytes_at_once:
            _shed()

    def _count(self) -> None:
        if self._limits._in_flight >= self._limits._max_in_flight:
            _shed()
        self._complete = True
        self._limits._in_flight += 1

    def end(self) -> None:
        self._limits._bytes -= self._bytes
        self._limits._in_flight -= self._complete


def _shed() -> None:
    metrics.SHED.inc()
    raise OverloadedError


def _has_body(scope: Scope) -> bool:
    return _content_length(scope) > 0 or any(name == b"transfer-encoding" for name, _ in scope["headers"])


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
