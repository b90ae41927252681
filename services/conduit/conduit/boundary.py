"""The API's boundary: every request gets an id, a time, a log line and a place, whatever becomes of it.

Plain ASGI, because this runs for every request and a framework's middleware costs as much as a query.
"""

import logging
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from itertools import count
from time import perf_counter, time
from typing import Any

import msgspec

from conduit import metrics
from conduit.timing import Tally, tally

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)
_ENCODE = msgspec.json.Encoder().encode
_OVERLOADED = b'{"errors":{"body":["too many requests are under way; try again shortly"]}}'
_FAILED = b'{"errors":{"body":["something went wrong here; the log has it under this request\'s id"]}}'
_QUIET_ROUTES = ("/ready", "/health")
# Random at start, then counted: unique across boxes and restarts, at no cost a request.
_PROCESS_ID = os.urandom(5).hex()
_MAX_ID_LENGTH = 64


class Boundary:
    """Wraps the app. At most ``max_in_flight`` requests are inside at once; one more is refused with 503.

    A path that ``always`` holds for is never refused: it takes no thread and hardly any time.
    """

    def __init__(self, app: App, max_in_flight: int, always: Callable[[str], bool] = lambda _path: False) -> None:
        self._app = app
        self._max_in_flight = max_in_flight
        self._always = always
        self._in_flight = 0
        metrics.IN_FLIGHT.set_function(lambda: self._in_flight)
        self._numbers = count(1)
        self._histograms: dict[tuple[str, str, int], Any] = {}
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        spent = Tally()
        request_id = self._request_id(scope)
        status = 0

        async def send_with_timing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"server-timing", _server_timing(spent, perf_counter() - started)),
                ]
            await send(message)

        # A busy box is not a sick one: probes are let in.
        if self._in_flight >= self._max_in_flight and not self._is_let_in(scope["path"]):
            metrics.SHED.inc()
            await _plain(send_with_timing, 503, _OVERLOADED, [(b"retry-after", b"1")])
            self._finish(scope, request_id, status, perf_counter() - started, spent)
            return
        self._in_flight += 1
        token = tally.set(spent)
        try:
            await self._app(scope, receive, send_with_timing)
        except Exception:
            log.exception("unexpected error", extra={"request_id": request_id.decode()})
            if status == 0:
                await _plain(send_with_timing, 500, _FAILED, [])
        finally:
            tally.reset(token)
            self._in_flight -= 1
            self._finish(scope, request_id, status, perf_counter() - started, spent)

    def _is_let_in(self, path: str) -> bool:
        return path in _QUIET_ROUTES or self._always(path)

    def _request_id(self, scope: Scope) -> bytes:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and len(value) <= _MAX_ID_LENGTH and value.isascii():
                return bytes(value)
        return b"%s-%d" % (_PROCESS_ID.encode(), next(self._numbers))

    def _finish(self, scope: Scope, request_id: bytes, status: int, seconds: float, spent: Tally) -> None:
        # An endpoint leaves its template here; where the router answers by itself, it is the router's own object.
        found = scope.get("route")
        route: str | None = getattr(found, "path", found)
        method: str = scope["method"]
        key = (method if route else "other", route or "none", status)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = metrics.REQUESTS.labels(key[0], key[1], str(status))
        histogram.observe(seconds)
        if route in _QUIET_ROUTES and status == 200:
            return
        line = {
            "time": round(time(), 3),
            "request_id": request_id.decode("ascii", "replace"),
            "method": method,
            "path": scope["path"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "database_ms": round(spent.database_seconds * 1000, 2),
            "queries": sum(spent.queries.values()),
        }
        if spent.redis_seconds:
            line["cache_ms"] = round(spent.redis_seconds * 1000, 2)
        for kind, task_seconds in spent.task_seconds.items():
            line[f"{kind}_ms"] = round(task_seconds * 1000, 2)
        # Whoever reads the log may be gone, and its disk may be full; the answer must not fail of that.
        with suppress(OSError, ValueError):
            self._write(_ENCODE(line) + b"\n")
            self._flush()


def _server_timing(spent: Tally, seconds: float) -> bytes:
    queries = sum(spent.queries.values())
    timing = b'app;dur=%.2f, db;dur=%.2f;desc="%d queries"' % (
        seconds * 1000,
        spent.database_seconds * 1000,
        queries,
    )
    if spent.redis_seconds:
        timing += b", cache;dur=%.2f" % (spent.redis_seconds * 1000)
    for kind, task_seconds in spent.task_seconds.items():
        timing += b", %s;dur=%.2f" % (kind.encode(), task_seconds * 1000)
    return timing


async def _plain(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = str(len(body)).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), (b"content-length", length), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
