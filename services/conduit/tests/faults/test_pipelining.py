"""Several requests on one connection, and refusals while an answer is under way."""

import asyncio
import gc
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from conduit.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, MOST_PIPELINED, BoundedHttp
from conduit_testing.raw_http import CHUNKED, UNREADABLE, all_of, answer, nothing_is_kept
from conduit_testing.waiting import until

CHUNKED_TO_READ = CHUNKED.replace(b"/api/users", b"/reads")


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


def test_requests_that_waited_behind_one_are_not_kept_when_the_client_leaves(
    slow: _Slow, to_slow: socket.socket
) -> None:
    until(lambda: any(isinstance(one, BoundedHttp) for one in gc.get_objects()), "it is not connected")
    with nothing_is_kept():
        with socket.create_connection(to_slow.getpeername(), timeout=5) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            until(lambda: slow.scopes, "it was not asked")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
        slow.scopes.clear()
        slow.may_end.set()


def test_trailers_are_not_taken_for_headers(slow: _Slow, to_slow: socket.socket) -> None:
    to_slow.sendall(CHUNKED_TO_READ + b"1\r\n{\r\n0\r\nAuthorization: Token x\r\nX: y\r\n\r\n")
    until(lambda: slow.messages, "nothing was read")
    to_slow.sendall(b"GET /reads HTTP/1.1\r\nConnection: close\r\nX: y\r\n\r\n")
    all_of(to_slow)
    assert [[name for name, _ in scope["headers"]] for scope in slow.scopes] == [
        [b"host", b"transfer-encoding"],
        [b"connection", b"x"],
    ]


def test_a_malformed_body_is_answered_and_the_app_told(
    slow: _Slow, to_slow: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    to_slow.sendall(CHUNKED_TO_READ + b"1\r\n{\r\n")
    until(lambda: slow.messages, "nothing was read")
    to_slow.sendall(b"no number\r\n")
    status, headers, body = answer(to_slow)
    assert (status, headers["connection"], body) == (400, "close", UNREADABLE)
    until(lambda: slow.messages[-1] == "http.disconnect", "the app still waits")
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
    said = all_of(to_slow)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 200 ") <= MOST_PIPELINED + 1


def test_a_few_requests_that_wait_behind_one_are_answered(slow: _Slow, to_slow: socket.socket) -> None:
    get = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    to_slow.sendall(get * MOST_PIPELINED + get.replace(b"Host", b"Connection: close\r\nHost"))
    slow.may_end.set()
    assert all_of(to_slow).count(b"halfhalf") == MOST_PIPELINED + 1


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
    said = all_of(to_slow)
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
    assert all_of(to_slow).endswith(b"\r\n\r\nhalfhalf")
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
