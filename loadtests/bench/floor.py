"""The floor that the app is measured against: the same queries by raw psycopg behind a bare ASGI route.

What the app costs beyond this is its framework, its checks and its schemas. The boundary (request id, timing, log
line, metrics) and the threads are the app's own, so that both do the same work for a request but those. The
queries are the app's compiled SQL; there is no pool, each thread keeps its connection.
"""

import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec
import psycopg
import uvicorn
from conduit.boundary import Boundary, Message, Receive, Scope, Send
from prometheus_client import start_http_server

from conduit import queries
from conduit.ids import MAX_ID, id_from_slug
from conduit.list_queries import FEED, list_statement
from conduit.statements import Row, Statement
from conduit.threads import Threads

_URL = os.environ["DATABASE_URL"]
_SECRET = os.environ["JWT_SECRET"]
_threads = Threads(10, patience=60)
_local = threading.local()
_encode = msgspec.json.Encoder().encode
_PAGE = {"before": MAX_ID + 1, "limit": 20, "offset": 0, "depth": 20, "author_limit": 20}
_LIST = list_statement(tag=False, author=False, favorited=False, signed_in=False)
_LIST_FOR = list_statement(tag=False, author=False, favorited=False, signed_in=True)


def _rows(statement: Statement[Row], **parameters: Any) -> list[Row]:
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = psycopg.connect(_URL, autocommit=True, options="-c timezone=UTC")
    with connection.cursor(row_factory=statement.row_factory) as cursor:
        return list(cursor.execute(statement.sql, {**statement.literals, **parameters}))


def _article(slug: str, viewer: int | None) -> bytes:
    article_id = id_from_slug(slug)
    if viewer is None:
        return bytes(_encode(_rows(queries.ARTICLE, article_id=article_id)))
    rows = _rows(queries.ARTICLE_FOR, article_id=article_id, viewer=viewer)
    _rows(queries.FOLLOWED, viewer=viewer, authors=[row.author_id for row in rows])
    return bytes(_encode(rows))


def _list(viewer: int | None) -> bytes:
    if viewer is None:
        return bytes(_encode(_rows(_LIST, **_PAGE)))
    rows = _rows(_LIST_FOR, viewer=viewer, **_PAGE)
    _rows(queries.FOLLOWED, viewer=viewer, authors=list({row.author_id for row in rows}))
    return bytes(_encode(rows))


def _feed(viewer: int | None) -> bytes:
    authors = [row.id for row in _rows(queries.FOLLOWEES, viewer=viewer)]
    return bytes(_encode(_rows(FEED, viewer=viewer, authors=authors, **_PAGE)))


def _viewer(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            token = value.decode().removeprefix("Token ")
            return int(jwt.decode(token, _SECRET, algorithms=["HS256"])["sub"])
    return None


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path, viewer = scope["path"], _viewer(scope)
    work: Callable[[], bytes]
    if path == "/api/articles":
        parse_qs(scope["query_string"])
        work = lambda: _list(viewer)  # noqa: E731
    elif path == "/api/articles/feed":
        work = lambda: _feed(viewer)  # noqa: E731
    elif path == "/ready":
        work = lambda: b"{}"  # noqa: E731
    else:
        work = lambda: _article(path.rpartition("/")[2], viewer)  # noqa: E731
    body = await _threads.run(work)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


if __name__ == "__main__":
    start_http_server(9100)
    uvicorn.run(
        Boundary(_app, max_in_flight=200),
        host="0.0.0.0",  # noqa: S104 - a container's own network
        port=int(os.environ.get("PORT", "8000")),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
