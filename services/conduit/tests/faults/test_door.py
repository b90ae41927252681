"""The server's door: who comes while the box is crowded is turned away unread, and the others are answered."""

import asyncio
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from starlette.types import Receive, Scope, Send

from conduit import server
from conduit.crowd import Crowd
from conduit.http_protocol import BoundedHttp
from conduit.server import Server
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.waiting import until

GET = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
WAITING = GET % b"/waits"
LARGE = GET % b"/large"


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> Iterator[str]:
    with served(settings_for(migrated(new_database)), turns_away=True) as base_url:
        yield base_url


def _count() -> float:
    return REGISTRY.get_sample_value("conduit_connections_turned_away_total") or 0.0


def _is_answered(newcomer: socket.socket, request: bytes) -> bool:
    """Otherwise it is closed."""
    try:
        newcomer.sendall(request)
        return newcomer.recv(12) == b"HTTP/1.1 200"
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_newcomers_are_turned_away_and_who_is_connected_is_answered_and_leaves(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _count()
    with httpx.Client(base_url=url, timeout=5) as connected:
        assert connected.get("/health").headers.get("connection") != "close"
        monkeypatch.setattr(Crowd, "is_full", True)
        assert connected.get("/health").headers.get("connection") != "close"
        place = connected.base_url
        with socket.create_connection((place.host, place.port or 80), timeout=5) as the_box_itself:
            assert _is_answered(the_box_itself, GET % b"/health")
        monkeypatch.setattr(server, "LOOPBACK", "127.0.0.9")
        for _ in range(50):
            with socket.create_connection((place.host, place.port or 80), timeout=5) as newcomer:
                assert not _is_answered(newcomer, GET % b"/health")
        monkeypatch.setattr(Crowd, "is_too_large", True)
        answer = connected.get("/health")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert _count() == before + 50
        monkeypatch.undo()
        assert connected.get("/health").headers.get("connection") != "close"


def test_many_come_in_at_once(url: str) -> None:
    place = httpx.URL(url)
    crowd = [socket.create_connection((place.host, place.port or 80), timeout=5) for _ in range(200)]
    try:
        for one in crowd:
            one.sendall(GET % b"/health")
        assert {one.recv(12) for one in crowd} == {b"HTTP/1.1 200"}
    finally:
        for one in crowd:
            one.close()


@dataclass
class _Served:
    """An app whose answers wait until they may, and may hold the event loop meanwhile, and its server."""

    may_end: threading.Event = field(default_factory=threading.Event)
    holds_loop: float = 0.0
    server: Server = field(init=False)
    address: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        config = uvicorn.Config(
            self,
            loop="uvloop",
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self.server = Server(config, listener, turns_away=True)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/raises":
            raise ValueError
        while scope["path"] == "/waits" and not self.may_end.is_set():
            time.sleep(self.holds_loop)
            await asyncio.sleep(0.01)
        body = b"x" * (8 << 20 if scope["path"] == "/large" else 1)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body[1:], "more_body": True})
        await send({"type": "http.response.body", "body": body[:1]})

    def connected(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=5)

    def until_under_way(self, count: int) -> None:
        until(lambda: self.server.crowd.under_way == count, lambda: f"{self.server.crowd.under_way} are under way")


@pytest.fixture
def app() -> Iterator[_Served]:
    made = _Served()
    thread = threading.Thread(target=made.server.run, daemon=True)
    thread.start()
    try:
        until(lambda: made.server.started, "it did not start")
        yield made
    finally:
        made.may_end.set()
        made.server.should_exit = True
        thread.join(timeout=15)


@pytest.mark.parametrize("requests", [1, 5])
def test_a_connection_is_under_way_until_all_of_its_requests_are_answered(app: _Served, requests: int) -> None:
    with app.connected() as connection:
        connection.sendall(WAITING * requests)
        app.until_under_way(1)
        app.may_end.set()
        app.until_under_way(0)
        connection.sendall(WAITING)
        assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("requests", [1, 5])
def test_who_leaves_is_not_under_way(app: _Served, requests: int) -> None:
    with app.connected() as connection:
        connection.sendall(WAITING * requests)
        app.until_under_way(1)
    app.may_end.set()
    app.until_under_way(0)


@pytest.mark.parametrize(
    "request_",
    [
        GET % b"/raises",
        b"GET / HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"no request\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_nothing_is_left_of_a_request_however_it_ends(app: _Served, request_: bytes) -> None:
    with app.connected() as connection, app.connected() as other:
        other.sendall(WAITING)
        app.until_under_way(1)
        connection.sendall(request_)
        assert connection.recv(9).startswith(b"HTTP/1.")
        app.until_under_way(1)
    app.may_end.set()
    app.until_under_way(0)


def test_a_request_whose_body_is_still_coming_is_not_under_way(app: _Served) -> None:
    with app.connected() as slow, app.connected() as other:
        slow.sendall(b"POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123")
        other.sendall(WAITING)
        app.until_under_way(1)
        slow.sendall(b"456789")
        app.until_under_way(2)


def test_a_client_that_does_not_read_is_not_under_way_until_it_does(app: _Served) -> None:
    with app.connected() as connection:
        connection.sendall(LARGE + WAITING)
        assert connection.recv(12) == b"HTTP/1.1 200"
        app.until_under_way(0)
        left = (8 << 20) - 65_536
        while left > 0:
            left -= len(connection.recv(65_536))
        app.until_under_way(1)


def test_without_files_left_newcomers_wait_until_there_are_some(
    app: _Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "PAUSE_SECONDS", 0.05)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newcomer:
        newcomer.settimeout(5)
        with os.fdopen(os.dup(newcomer.fileno())) as the_last:
            free = the_last.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            began = time.monotonic()
            newcomer.connect(app.address)
            until(lambda: "no connection can be accepted" in caplog.messages, "it did not run out of files")
            time.sleep(0.2)  # several pauses
            refusals = caplog.messages.count("no connection can be accepted")
            pauses = (time.monotonic() - began) / server.PAUSE_SECONDS
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert _is_answered(newcomer, GET % b"/")
    assert refusals <= pauses + 2, "it spins"


def test_a_loop_that_can_do_no_more_turns_newcomers_away_until_it_can(
    app: _Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty hold the loop for 2 ms each, in every turn. So it is busy however fast or slow this machine is."""
    caplog.set_level(logging.WARNING, "conduit")
    monkeypatch.setattr(server, "LOOPBACK", "127.0.0.9")
    app.holds_loop = 0.002
    before = _count()
    with ExitStack() as all_come:

        def somebody_is_turned_away() -> bool:
            all_come.enter_context(app.connected()).sendall(GET % b"/")
            return _count() > before

        for _ in range(20):
            all_come.enter_context(app.connected()).sendall(WAITING)
        until(somebody_is_turned_away, "nobody is turned away", within=30, pause=0.05)
        app.may_end.set()
        until(lambda: not app.server.crowd.is_overloaded, "newcomers are still turned away", within=30)
        with app.connected() as newcomer:
            assert _is_answered(newcomer, GET % b"/")
    assert [record.getMessage() for record in caplog.records if record.name == "conduit"] == [
        "more to do than this box can: newcomers are turned away",
        "all newcomers are let in again",
    ]
