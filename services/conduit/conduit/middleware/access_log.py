"""Middleware: measures and logs every request, even a refused one."""

import logging
import sys
from contextlib import suppress
from time import perf_counter, time
from typing import Any

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from conduit import metrics
from conduit.errors import FailedError
from conduit.routing.error_handlers import response_to
from conduit.timing import Tally, tally

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
# Health checks call these every few seconds; only their failures are logged.
_QUIET_ROUTES = ("/ready", "/health")


class AccessLog:
    """A histogram by method, route and status, and a line of JSON on standard output.

    An unexpected error is logged with its traceback and answered with 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._histograms: dict[tuple[str, str, int], Any] = {}
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        spent = tally.get()
        assert spent is not None, "RequestContext stands around this"
        try:
            await self._app(scope, receive, send)
        except Exception:
            log.exception("unexpected error", extra={"request_id": _text(scope["request_id"])})
            if spent.status == 0:
                await response_to(FailedError())(scope, receive, send)
        finally:
            self._record(scope, spent)

    def _record(self, scope: Scope, spent: Tally) -> None:
        status, seconds = spent.status, perf_counter() - spent.started
        route: str | None = getattr(scope.get("route"), "path", None)
        key = (scope["method"] if route else "other", route or "none", status)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = metrics.REQUESTS.labels(key[0], key[1], str(status))
        histogram.observe(seconds)
        if route in _QUIET_ROUTES and status == 200:
            return
        line = _line(scope, route, seconds, spent)
        # The log's reader may be gone or its disk full, which must not fail the request.
        with suppress(OSError, ValueError):
            self._write(_encode(line) + b"\n")
            self._flush()


def _line(scope: Scope, route: str | None, seconds: float, spent: Tally) -> dict[str, Any]:
    line = {
        "time": round(time(), 3),
        "request_id": _text(scope["request_id"]),
        "method": scope["method"],
        "path": scope["path"],
        "route": route,
        "status": spent.status,
        "ms": round(seconds * 1000, 2),
        "database_ms": round(spent.database_seconds * 1000, 2),
        "queries": sum(spent.queries.values()),
    }
    if spent.redis_seconds:
        line["cache_ms"] = round(spent.redis_seconds * 1000, 2)
    if spent.missing:
        line["partial"] = sorted(spent.missing)
    for kind, task_seconds in spent.task_seconds.items():
        line[f"{kind}_ms"] = round(task_seconds * 1000, 2)
    return line


def _text(request_id: bytes) -> str:
    return request_id.decode("ascii", "replace")
