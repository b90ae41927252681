"""The contract of every Edge, and the HTTP requests of PurgeEdge."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3 import Timeout

from conduit import metrics
from conduit.adapters import edge_purge
from conduit.adapters.edge_null import NullEdge
from conduit.adapters.edge_purge import PurgeEdge
from conduit.edge import purging
from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    AuthorFollowed,
    CommentAdded,
    CommentDeleted,
    UserChanged,
)
from conduit.ports import Edge
from conduit_testing.waiting import until

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


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an edge in a thread needs longer than a writer would wait for it."""
    monkeypatch.setattr(edge_purge, "OPEN_SECONDS", 5.0)
    monkeypatch.setattr(edge_purge, "TIMEOUT", Timeout(connect=5.0, read=5.0))


def _count(result: str) -> float:
    return metrics.PURGES.labels(result)._value.get()  # type: ignore[no-any-return]


@pytest.fixture(params=["none", "by HTTP"])
def edge(request: pytest.FixtureRequest, port: int, unhurried: None) -> Edge:
    return NullEdge() if request.param == "none" else PurgeEdge(f"http://localhost:{port}")


@pytest.mark.parametrize("article_ids", [[], [1], [1, 2, 3], [13, 14]], ids=str)
def test_purging_any_number_of_articles_sends_one_request_each_or_none(
    edge: Edge, article_ids: list[int]
) -> None:
    asked.clear()
    edge.purge(article_ids)
    sent = [] if isinstance(edge, NullEdge) else [("POST", f"/articles/{article_id}") for article_id in article_ids]
    assert asked == sent


@pytest.mark.usefixtures("unhurried")
def test_each_article_is_purged_by_its_id(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    edge.purge([4096, 2**53 - 1])
    edge.purge([7])
    assert asked == [("POST", "/articles/4096"), ("POST", f"/articles/{2**53 - 1}"), ("POST", "/articles/7")]


@pytest.mark.usefixtures("unhurried")
def test_a_status_other_than_204_counts_as_failed_and_the_next_purge_is_sent(port: int) -> None:
    asked.clear()
    edge = PurgeEdge(f"http://127.0.0.1:{port}")
    done, failed = _count("done"), _count("failed")
    edge.purge([13])
    assert (_count("done") - done, _count("failed") - failed) == (0, 1)
    edge.purge([14])
    assert (_count("done") - done, _count("failed") - failed) == (1, 1)
    assert [path for _, path in asked] == ["/articles/13", "/articles/14"]


def test_only_articles_that_changed_or_lost_something_are_purged() -> None:
    purged: list[list[int]] = []

    class Noting:
        def purge(self, article_ids: list[int]) -> None:
            purged.append(article_ids)

    tell = purging(Noting())  # type: ignore[arg-type] # takes the lists that it is given
    tell([ArticleChanged(1, 9), ArticlePublished(2, 9), ArticleDeleted(3, 9), ArticleChanged(1, 9)])
    tell([ArticleFavorited(4, 8, 9, True, 1), CommentAdded(5, 1, 9, "b", "", "")])
    tell([AuthorFollowed(9, 8, True), UserChanged(9, "jo")])
    assert purged == [[1, 3]]
    tell([CommentDeleted(6, 1)])
    assert purged == [[1, 3], [6]]


# What the other end answers to a purge over a connection that it has kept, or nothing.
_DONE = b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def _edge_that(answers: Callable[[bytes, int], bytes]) -> Iterator[tuple[PurgeEdge, list[bytes]]]:
    """An edge that answers so to a request's head and its number on the connection, b"" for closing it; the heads."""
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            number = 0
            while head := connection.recv(4096):
                number += 1
                heads.append(head.split(b" HTTP/1.1")[0])
                answer = answers(head, number)
                if not answer:
                    return
                connection.sendall(answer)

    def accept(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        yield PurgeEdge(f"http://127.0.0.1:{listening.getsockname()[1]}"), heads
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("unhurried")
def test_a_purge_that_meets_a_closing_connection_is_sent_over_another() -> None:
    with _edge_that(lambda _head, number: _DONE if number == 1 else b"") as (edge, heads):
        done = _count("done")
        edge.purge([5])
        assert heads == [b"GET /alive", b"POST /articles/5", b"POST /articles/5"]
        assert _count("done") - done == 1


def test_a_purge_that_is_sent_again_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_purge, "OPEN_SECONDS", 5.0)
    monkeypatch.setattr(edge_purge, "TIMEOUT", Timeout(connect=1.0, read=0.5))
    over = threading.Event()

    def answer(head: bytes, number: int) -> bytes:
        if b"POST" not in head:
            return _DONE
        if number == 1:
            over.wait(10)
        return b""

    with _edge_that(answer) as (edge, heads):
        started = time.monotonic()
        edge.purge([5])
        took = time.monotonic() - started
        over.set()
    assert heads == [b"GET /alive", b"POST /articles/5", b"POST /articles/5"]
    assert took < 5


@pytest.mark.usefixtures("unhurried")
def test_an_answer_that_is_not_http_is_a_failure_and_no_reason_to_ask_twice() -> None:
    with _edge_that(lambda head, _number: b"nonsense\r\n\r\n" if b"POST" in head else _DONE) as (edge, heads):
        failed = _count("failed")
        edge.purge([5])
        assert heads[:2] == [b"GET /alive", b"POST /articles/5"]
        assert heads.count(b"POST /articles/5") == 1
        assert _count("failed") - failed == 1


@pytest.mark.usefixtures("unhurried")
def test_a_redirection_is_a_failure_and_is_not_followed() -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with _edge_that(lambda head, _number: away if b"POST" in head else _DONE) as (edge, heads):
        failed = _count("failed")
        edge.purge([5])
        assert heads == [b"GET /alive", b"POST /articles/5"]
        assert _count("failed") - failed == 1


@pytest.mark.usefixtures("unhurried")
def test_a_redirection_after_a_closing_connection_is_not_followed_either() -> None:
    away = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"

    def answer(head: bytes, number: int) -> bytes:
        if b"POST" not in head:
            return _DONE
        return away if number == 1 else b""

    with _edge_that(answer) as (edge, heads):
        edge.purge([5])
        assert heads == [b"GET /alive", b"POST /articles/5", b"POST /articles/5"]


@pytest.mark.usefixtures("unhurried")
def test_the_log_says_which_article_was_not_purged_and_why(port: int, caplog: pytest.LogCaptureFixture) -> None:
    PurgeEdge(f"http://127.0.0.1:{port}").purge([13])
    (record,) = [record for record in caplog.records if record.getMessage() == "the edge did not purge"]
    assert (record.server, record.cause) == ("127.0.0.1", "article 13: 500")  # type: ignore[attr-defined]


def test_while_the_edge_is_away_every_article_is_counted_as_not_tried() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        not_tried = _count("not tried")
        PurgeEdge(f"http://127.0.0.1:{nobody.getsockname()[1]}").purge([1, 2, 3])
        assert _count("not tried") - not_tried == 3


def test_closed_it_asks_no_more(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its probe neither, of an edge that is away: a thread that is left behind would go on for ever."""
    monkeypatch.setattr(edge_purge, "OPEN_SECONDS", 0.5)  # which both wait out, and a probe would be quicker
    away = PurgeEdge("http://localhost:1")
    away.purge([1])
    assert _probes("localhost:1")
    for one in (edge, away):
        one.close()  # type: ignore[attr-defined]  # the port's users do not close
    asked.clear()
    edge.purge([1])
    assert asked == []
    until(lambda: not _probes("localhost:1"), "it is probed still", within=10, pause=0.02)


def _probes(server: str) -> bool:
    return f"probe {server}" in {thread.name for thread in threading.enumerate()}
