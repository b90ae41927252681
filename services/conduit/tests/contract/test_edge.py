"""What every Edge does with an article that changed, and what the one that is told by HTTP asks for."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conduit import metrics
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
    """The edge's port for purging: it records the requests, and answers 500 for article 13."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _record(self) -> None:
            if self.path != "/alive":
                asked.append((self.command, self.path))
            self.send_response(500 if self.path.endswith("/13") else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _record

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def _count(result: str) -> float:
    return metrics.PURGES.labels(result)._value.get()  # type: ignore[no-any-return]


@pytest.fixture(params=["none", "by HTTP"])
def edge(request: pytest.FixtureRequest, port: int) -> Edge:
    return NullEdge() if request.param == "none" else PurgeEdge(f"http://localhost:{port}")


@pytest.mark.parametrize("article_ids", [[], [1], [1, 2, 3], [13, 14]], ids=str)
def test_purging_any_number_of_articles_sends_one_request_each_or_none(
    edge: Edge, article_ids: list[int]
) -> None:
    asked.clear()
    edge.purge(article_ids)
    sent = [] if isinstance(edge, NullEdge) else [("POST", f"/articles/{article_id}") for article_id in article_ids]
    assert asked == sent


def test_each_article_is_purged_by_its_id(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    edge.purge([4096, 2**53 - 1])
    edge.purge([7])
    assert asked == [("POST", "/articles/4096"), ("POST", f"/articles/{2**53 - 1}"), ("POST", "/articles/7")]


def test_a_status_other_than_204_counts_as_failed_and_the_next_purge_is_sent(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    done, failed = _count("done"), _count("failed")
    edge.purge([13])
    assert (_count("done") - done, _count("failed") - failed) == (0, 1)
    edge.purge([14])
    assert (_count("done") - done, _count("failed") - failed) == (1, 1)
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


def test_closed_it_asks_no_more(edge: Edge, port: int) -> None:
    """Its probe neither, of an edge that is away: a thread that is left behind would go on for ever."""
    away = PurgeEdge("http://localhost:1")
    away.purge([1])
    assert _probes("localhost:1")
    for one in (edge, away):
        one.close()  # type: ignore[attr-defined]  # the port's users do not close
    asked.clear()
    edge.purge([1])
    assert asked == []
    deadline = time.monotonic() + 10
    while _probes("localhost:1"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _probes(server: str) -> bool:
    return f"probe {server}" in {thread.name for thread in threading.enumerate()}
