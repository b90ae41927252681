"""Middleware: gives each request an id and a tally of its time, and adds both to the response's headers."""

import os
from itertools import count
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit import sessions
from conduit.sessions import Session
from conduit.timing import Tally, tally

# A random prefix for each process and a counter: unique across boxes and restarts, and cheap.
_PROCESS_ID = os.urandom(5).hex()
_MAX_ID_LENGTH = 64
_READS = ("GET", "HEAD")


class RequestContext:
    """Takes the caller's ``X-Request-Id`` or makes one, and adds it and ``Server-Timing`` to the response, and for each
    database server whose rows it lacks ``X-Partial``.

    The status is noted in ``timing.tally``, a context variable of the request, to which database and cache add their
    time.
    """

    def __init__(self, app: ASGIApp, *, reads_replicas: bool = False) -> None:
        self._app = app
        self._reads_replicas = reads_replicas
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        spent = Tally()
        request_id = scope["request_id"] = self._request_id(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                spent.status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"server-timing", _server_timing(spent)),
                    (b"x-content-type-options", b"nosniff"),
                    *((b"x-partial", name.encode()) for name in sorted(spent.missing)),
                ]
            await send(message)

        # Nobody asks for a session where there are no replicas.
        session = Session(may_lag=scope["method"] in _READS) if self._reads_replicas else None
        counted, asking = tally.set(spent), sessions.current.set(session)
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            sessions.current.reset(asking)
            tally.reset(counted)

    def _request_id(self, scope: Scope) -> bytes:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and 0 < len(value) <= _MAX_ID_LENGTH and value.isascii():
                return bytes(value)
        return b"%s-%d" % (_PROCESS_ID.encode(), next(self._numbers))


def _server_timing(spent: Tally) -> bytes:
    """https://www.w3.org/TR/server-timing/: milliseconds in the app so far, in the database, in Redis, in tasks; and
    how old what replicas answered may be.
    """
    timing = b'app;dur=%.2f, db;dur=%.2f;desc="%d queries"' % (
        (perf_counter() - spent.started) * 1000,
        spent.database_seconds * 1000,
        sum(spent.queries.values()),
    )
    if spent.replica_lag:
        timing += b', replica;dur=%.0f;desc="old at most"' % (spent.replica_lag * 1000)
    if spent.redis_seconds:
        timing += b", cache;dur=%.2f" % (spent.redis_seconds * 1000)
    for kind, task_seconds in spent.task_seconds.items():
        timing += b", %s;dur=%.2f" % (kind.encode(), task_seconds * 1000)
    return timing
