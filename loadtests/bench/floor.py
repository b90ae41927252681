"""The floor that the app is measured against: its queries by raw psycopg behind bare ASGI, and the same bytes out.

Nothing is here that an answer could do without: no router, no middleware, no thread, no pool, no log, one connection
with one binary cursor, a token that was checked once. psycopg blocks the event loop, which costs the least CPU and is
no way to serve anybody. What the app costs beyond this is what its framework, threads, limits and logs cost.
"""

import os
from functools import cache
from typing import Any

import jwt
import msgspec
import psycopg
import uvicorn
from prometheus_client import start_http_server
from starlette.types import Receive, Scope, Send

from conduit import queries
from conduit.adapters.postgres_server import SERVER_OPTIONS
from conduit.adapters.postgres_times import TimeLoader
from conduit.ids import MAX_ID, id_from_slug
from conduit.list_queries import FEED, list_statement
from conduit.media_names import public_address
from conduit.rows import ListRow, article_of, cover_from, summary_of
from conduit.schemas import ArticleBody, ArticlesBody
from conduit.statements import Row, Statement

_PAGE = {"before": MAX_ID + 1, "limit": 20, "offset": 0, "depth": 20, "author_limit": 20}
_LIST = list_statement(tag=False, author=False, favorited=False, signed_in=False)
_LIST_FOR = list_statement(tag=False, author=False, favorited=False, signed_in=True)
_encode = msgspec.json.Encoder().encode


class _Addresses:
    """Where a cover's files are; all that making an answer asks of Media."""

    url = staticmethod(public_address)


_media: Any = _Addresses()


@cache
def _cursor() -> psycopg.Cursor[Any]:
    connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, options=SERVER_OPTIONS)
    connection.adapters.register_loader("timestamptz", TimeLoader)
    return connection.cursor(binary=True)


def _rows(statement: Statement[Row], **parameters: Any) -> list[Row]:
    cursor = _cursor()
    cursor.row_factory = statement.row_factory
    return cursor.execute(statement.sql, {**statement.literals, **parameters}).fetchall()


def _followed(viewer: int | None, authors: set[int]) -> set[int]:
    others = [author for author in authors if author != viewer]
    if viewer is None or not others:
        return set()
    return {row.id for row in _rows(queries.FOLLOWED, viewer=viewer, authors=others)}


def _article(slug: str, viewer: int | None) -> bytes:
    article_id = id_from_slug(slug)
    if viewer is None:
        (row,) = _rows(queries.ARTICLE, article_id=article_id)
    else:
        (row,) = _rows(queries.ARTICLE_FOR, article_id=article_id, viewer=viewer)
    following = row.author_id in _followed(viewer, {row.author_id})
    cover = cover_from(_media, row.cover_digest, row.cover_state)
    return _encode(ArticleBody(article_of(row, cover, following)))


def _list(viewer: int | None) -> bytes:
    rows = _rows(_LIST, **_PAGE) if viewer is None else _rows(_LIST_FOR, viewer=viewer, **_PAGE)
    return _listed(rows, _followed(viewer, {row.author_id for row in rows}))


def _feed(viewer: int | None) -> bytes:
    authors = [row.id for row in _rows(queries.FOLLOWEES, viewer=viewer)]
    rows = _rows(FEED, viewer=viewer, authors=authors, **_PAGE)
    return _listed(rows, {row.author_id for row in rows})


def _listed(rows: list[ListRow], followed: set[int]) -> bytes:
    summaries = [
        summary_of(row, cover_from(_media, row.cover_digest, row.cover_state), row.author_id in followed)
        for row in rows
    ]
    return _encode(ArticlesBody(summaries, rows[0].total))


@cache
def _user_id(header: bytes) -> int:
    token = header.decode().removeprefix("Token ")
    return int(jwt.decode(token, os.environ["JWT_SECRET"], algorithms=["HS256"])["sub"])


def _viewer(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return _user_id(value)
    return None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/api/articles":
        body = _list(_viewer(scope))
    elif path == "/api/articles/feed":
        body = _feed(_viewer(scope))
    else:
        body = _article(path.rpartition("/")[2], _viewer(scope))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


if __name__ == "__main__":
    start_http_server(9100)
    uvicorn.run(
        app,
        host="0.0.0.0",  # noqa: S104 - a container's own network
        port=int(os.environ.get("PORT", "8000")),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        date_header=False,
    )
