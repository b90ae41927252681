"""What a stage without a balancer does about a request's head: too long, too slow, or none at all.

And about what stands beside a body, and requests that end amid their bodies.
"""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from conduit import http_protocol
from conduit.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, MOST_PIPELINED, BoundedHttp
from conduit_testing.client import Api
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.waiting import until

HEAD_SECONDS = 0.5
UNREADABLE = {"errors": {"body": ["could not be read as an HTTP request"]}}
CHUNKED = b"POST /api/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_TO_READ = CHUNKED.replace(b"/api/users", b"/reads")


@pytest.fixture(scope="module")
def url(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_for(migrated(new_database), media_dir=tmp_path_factory.mktemp("media"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_protocol, "HEAD_SECONDS", HEAD_SECONDS)
        with served(settings) as url:
            yield url


@pytest.fixture
def connection(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        yield connection


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], object]:
    """The status, the headers and the body that come before the connection is closed."""
    head, _, body = _all_of(connection).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if "x-request-id" not in headers:  # the protocol's own, not the app's
        assert headers["access-control-allow-origin"] == "*", "a page on another origin cannot read it"
    return int(status.split()[1]), headers, json.loads(body)


def _all_of(connection: socket.socket) -> bytes:
    said = b""
    while data := connection.recv(65_536):
        said += data
    return said


class _Slow:
    """An app that sends the first half of its answer, and the second when it is told to."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.scopes: list[Scope] = []
        self.messages: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/reads":
            more = True
            while more:
                message = await receive()
                self.messages.append(message["type"])
                more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while not self.may_end.is_set() and scope["path"] != "/reads":
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"half"})


@pytest.fixture
def slow() -> _Slow:
    return _Slow()


@pytest.fixture
def to_slow(slow: _Slow) -> Iterator[socket.socket]:
    """A connection to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(slow, loop="uvloop", http=BoundedHttp, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=5) as connection:
            yield connection
    finally:
        server.should_exit = True
        slow.may_end.set()
        thread.join(timeout=15)


@contextlib.contextmanager
def _nothing_is_kept() -> Iterator[None]:
    """No connection of the block stays until the garbage is collected."""

    def kept() -> int:
        return sum(isinstance(one, BoundedHttp) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        yield
        until(lambda: kept() <= before, lambda: f"{kept() - before} are kept")
    finally:
        gc.enable()


def test_a_connection_that_is_over_keeps_nothing(url: str) -> None:
    """Until the garbage is collected, which holds up all requests."""
    place = httpx.URL(url)
    with _nothing_is_kept():
        for _ in range(5):
            with socket.create_connection((place.host, place.port or 80), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                _all_of(connection)


def test_requests_that_waited_behind_one_are_not_kept_when_the_client_leaves(
    slow: _Slow, to_slow: socket.socket
) -> None:
    until(lambda: any(isinstance(one, BoundedHttp) for one in gc.get_objects()), "it is not connected")
    with _nothing_is_kept():
        with socket.create_connection(to_slow.getpeername(), timeout=5) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            until(lambda: slow.scopes, "it was not asked")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
        slow.scopes.clear()
        slow.may_end.set()


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX-Long: ", b"GET /", b"GET / HTTP/1.1\r\n"], ids=repr)
def test_an_endless_head_is_refused_before_it_is_gathered(connection: socket.socket, start: bytes) -> None:
    connection.sendall(start)
    sent = 0
    piece = b"x: y\r\n" * 1_000 if start.endswith(b"\r\n") else b"x" * 6_000
    try:
        while sent < 99_000_000:
            sent += connection.send(piece)
    except OSError:
        pass
    # What the kernel holds on both sides is more than the app has read.
    assert sent < MAX_HEAD_BYTES + 20_000_000


def test_a_head_just_over_the_limit_is_told_so(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * MAX_HEAD_BYTES)
    status, headers, body = _answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEAD_BYTES} bytes of headers"]}}


@pytest.mark.parametrize("end", [b"\r\n", b"x"], ids=["complete", "open"])
def test_a_head_of_many_short_headers_is_refused(connection: socket.socket, end: bytes) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + end)
    status, headers, body = _answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEADERS} headers"]}}


def test_as_many_headers_as_are_allowed_are_answered(connection: socket.socket) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\nConnection: close\r\n" + b"x: y\r\n" * (MAX_HEADERS - 1) + b"\r\n")
    assert _answer(connection)[0] == 200


@pytest.mark.parametrize("start", [b"1;", b"1\r\n{\r\n1;x=", b"1\r\n{\r\n0\r\nX-Long: "], ids=repr)
def test_what_stands_beside_a_body_is_bounded_as_a_head_is(connection: socket.socket, start: bytes) -> None:
    """A chunk's extension, and trailers."""
    connection.sendall(CHUNKED + start)
    time.sleep(0.1)  # else it may come in one piece with what follows
    connection.sendall(b"x" * (MAX_HEAD_BYTES + 1))
    status, headers, body = _answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEAD_BYTES} bytes of headers"]}}


def test_trailers_are_not_taken_for_headers(slow: _Slow, to_slow: socket.socket) -> None:
    to_slow.sendall(CHUNKED_TO_READ + b"1\r\n{\r\n0\r\nAuthorization: Token x\r\nX: y\r\n\r\n")
    until(lambda: slow.messages, "nothing was read")
    to_slow.sendall(b"GET /reads HTTP/1.1\r\nConnection: close\r\nX: y\r\n\r\n")
    _all_of(to_slow)
    assert [[name for name, _ in scope["headers"]] for scope in slow.scopes] == [
        [b"host", b"transfer-encoding"],
        [b"connection", b"x"],
    ]


def test_a_long_head_within_the_limit_is_answered(url: str) -> None:
    assert httpx.get(f"{url}/api/tags", headers={"X-Long": "x" * 60_000}).status_code == 200


def test_a_large_body_does_not_count_as_a_head(url: str) -> None:
    with httpx.Client(base_url=url) as http:
        jo = Api(http).sign_up()
        for _ in range(3):
            assert jo.call("PUT", "/user", content=b"x" * 500_000).status_code == 422
            assert http.get("/api/tags").status_code == 200


def test_an_answer_before_the_end_of_a_body_reaches_who_is_still_sending(url: str) -> None:
    """Closing the connection at once would reset it, mostly before the answer is read."""
    parts = urlsplit(url)
    for _ in range(10):
        with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
            connection.sendall(b"PUT /api/articles/x-1/cover HTTP/1.1\r\nHost: x\r\nContent-Length: 4900000\r\n\r\n")
            connection.sendall(b"x" * 4_900_000)
            status, headers, _ = _answer(connection)
        assert status == 401
        assert headers["connection"] == "close"


def test_who_goes_on_sending_after_the_answer_is_not_listened_to_for_long(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.5)
    connection.sendall(b"PUT /api/articles/x-1/cover HTTP/1.1\r\nHost: x\r\nContent-Length: 4900000\r\n\r\n")
    assert _answer(connection)[0] == 401
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while time.monotonic() - started < 10:
            connection.sendall(b"x")
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - started < 5


def test_the_rest_of_a_body_is_not_waited_for_after_an_answer_that_does_not_close(connection: socket.socket) -> None:
    asked = b"Origin: http://x.example\r\nAccess-Control-Request-Method: PUT\r\nContent-Length: 100\r\n\r\n"
    connection.sendall(b"OPTIONS /api/user HTTP/1.1\r\nHost: x\r\n" + asked)
    assert _all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_malformed_body_is_answered_and_the_app_told(
    slow: _Slow, to_slow: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    to_slow.sendall(CHUNKED_TO_READ + b"1\r\n{\r\n")
    until(lambda: slow.messages, "nothing was read")
    to_slow.sendall(b"no number\r\n")
    status, headers, body = _answer(to_slow)
    assert (status, headers["connection"], body) == (400, "close", UNREADABLE)
    until(lambda: slow.messages[-1] == "http.disconnect", "the app still waits")
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def test_a_malformed_body_of_the_apps_is_answered(connection: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    connection.sendall(CHUNKED + b"1\r\n{\r\n")
    time.sleep(0.1)
    connection.sendall(b"no number\r\n")
    status, headers, body = _answer(connection)
    assert (status, headers["connection"], body) == (400, "close", UNREADABLE)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def test_only_so_many_requests_wait_behind_one(slow: _Slow, to_slow: socket.socket) -> None:
    get = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    to_slow.sendall(get * 3_000)
    until(lambda: slow.scopes, "it was not asked")
    time.sleep(0.3)
    waiting = [one for one in gc.get_objects() if isinstance(one, BoundedHttp) and one.pipeline]
    assert sum(len(one.pipeline) for one in waiting) <= MOST_PIPELINED
    del waiting
    slow.may_end.set()
    said = _all_of(to_slow)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 200 ") <= MOST_PIPELINED + 1


def test_a_few_requests_that_wait_behind_one_are_answered(slow: _Slow, to_slow: socket.socket) -> None:
    get = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    to_slow.sendall(get * MOST_PIPELINED + get.replace(b"Host", b"Connection: close\r\nHost"))
    slow.may_end.set()
    assert _all_of(to_slow).count(b"halfhalf") == MOST_PIPELINED + 1


@pytest.mark.parametrize("end", [b"\x00\r\n\r\n", b"x: " + b"x" * MAX_HEAD_BYTES], ids=["unreadable", "too long"])
def test_the_headers_of_what_is_refused_are_not_kept(connection: socket.socket, end: bytes) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS - 1))
    time.sleep(0.1)
    connection.sendall(end)
    assert _answer(connection)[0] in (400, 431)
    lingering = [one for one in gc.get_objects() if isinstance(one, BoundedHttp) and one.transport.is_lingering]
    assert lingering
    assert [len(one.headers) for one in lingering] == [0] * len(lingering)


@pytest.mark.parametrize("is_begun", [True, False], ids=["begun", "not begun"])
@pytest.mark.parametrize(
    "refused",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + b"x",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 4 * MAX_HEAD_BYTES,
        CHUNKED + b"no number\r\n",
    ],
    ids=["nonsense", "many headers", "many headers, complete", "long header", "malformed body"],
)
def test_an_answer_that_is_under_way_ends_before_a_refusal_closes_the_connection(
    slow: _Slow, to_slow: socket.socket, caplog: pytest.LogCaptureFixture, refused: bytes, *, is_begun: bool
) -> None:
    get = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    if is_begun:
        to_slow.sendall(get)
        until(lambda: slow.scopes, "it was not asked")
        to_slow.sendall(refused)
    else:
        to_slow.sendall(get + refused)
    time.sleep(0.3)
    slow.may_end.set()
    started = time.monotonic()
    said = _all_of(to_slow)
    assert time.monotonic() - started < 2, "it is closed at once"
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"\r\n\r\nhalfhalf")
    assert said.count(b"HTTP/1.1") == 1
    assert [scope["path"] for scope in slow.scopes] == ["/slow"]
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def test_a_malformed_body_does_not_cut_off_its_own_answer(
    slow: _Slow, to_slow: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    to_slow.sendall(CHUNKED)
    until(lambda: slow.scopes, "it was not asked")
    to_slow.sendall(b"no number\r\n")
    time.sleep(0.3)
    slow.may_end.set()
    assert _all_of(to_slow).endswith(b"\r\n\r\nhalfhalf")
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


def test_a_head_that_comes_too_slowly_is_given_up(url: str) -> None:
    parts = urlsplit(url)
    started = time.monotonic()  # it counts from the connection on
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        status, headers, _ = _answer(connection)
    assert status == 408
    assert headers["connection"] == "close"
    assert HEAD_SECONDS <= time.monotonic() - started < 20 * HEAD_SECONDS


def test_a_head_that_begins_right_after_another_request_has_no_more_time(connection: socket.socket) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n")
    said = _all_of(connection)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in said


def test_a_connection_that_asks_nothing_is_closed_and_one_that_waits_between_requests_is_not(
    connection: socket.socket, url: str
) -> None:
    with httpx.Client(base_url=url) as http:
        assert http.get("/api/tags").status_code == 200
        assert connection.recv(1) == b""
        time.sleep(2 * HEAD_SECONDS)
        pool = http._transport._pool  # type: ignore[attr-defined]
        (kept,) = pool.connections
        assert http.get("/api/tags").status_code == 200
        assert pool.connections == [kept]


def test_what_is_no_request_is_answered_in_the_apis_form(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
    status, headers, body = _answer(connection)
    assert status == 400
    assert headers["connection"] == "close"
    assert body == UNREADABLE
