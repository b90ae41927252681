"""What every Edge does with an article that changed, and what the one that is told by HTTP asks for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conduit.adapters.edge_null import NullEdge
from conduit.adapters.edge_purge import PurgeEdge
from conduit.edge import purging
from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    AuthorFollowed,
    CommentsChanged,
    UserChanged,
)
from conduit.ports import Edge

asked: list[tuple[str, str]] = []


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The edge's port for purging, that only notes what it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _note(self) -> None:
            if self.path != "/alive":
                asked.append((self.command, self.path))
            self.send_response(500 if self.path.endswith("/13") else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _note

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["none", "by HTTP"])
def edge(request: pytest.FixtureRequest, port: int) -> Edge:
    asked.clear()
    return NullEdge() if request.param == "none" else PurgeEdge(f"http://localhost:{port}")


def test_it_takes_any_number_of_articles_and_raises_nothing(edge: Edge) -> None:
    for article_ids in ([], [1], [1, 2, 3], [13]):
        edge.purge(article_ids)


def test_each_article_is_purged_by_its_id(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    edge.purge([4096, 2**53 - 1])
    edge.purge([7])
    assert asked == [("POST", "/articles/4096"), ("POST", f"/articles/{2**53 - 1}"), ("POST", "/articles/7")]


def test_an_edge_that_answers_with_an_error_is_asked_again_the_next_time(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    edge.purge([13])
    edge.purge([14])
    assert [path for _, path in asked] == ["/articles/13", "/articles/14"]


def test_articles_that_changed_or_are_gone_are_purged_and_nothing_else() -> None:
    purged: list[list[int]] = []

    class Noting:
        def purge(self, article_ids: list[int]) -> None:
            purged.append(article_ids)

    tell = purging(Noting())  # type: ignore[arg-type] # takes the lists that it is given
    tell([ArticleChanged(1, 9), ArticlePublished(2, 9), ArticleDeleted(3, 9), ArticleChanged(1, 9)])
    tell([ArticleFavorited(4, 9, True), CommentsChanged(5), AuthorFollowed(9, 8, True), UserChanged(9, "jo")])
    assert purged == [[1, 3]]
