"""What a stage without a balancer does about a request's head: too long, too slow, or none at all.

And about what stands beside a body, and requests that end amid their bodies.
"""

import contextlib
import gc
import logging
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from conduit import http_protocol
from conduit.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, BoundedHttp
from conduit_testing.client import Api
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.raw_http import CHUNKED, UNREADABLE, all_of, answer, nothing_is_kept

HEAD_SECONDS = 0.5


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


def test_a_connection_that_is_over_keeps_nothing(url: str) -> None:
    """Until the garbage is collected, which holds up all requests."""
    place = httpx.URL(url)
    with nothing_is_kept():
        for _ in range(5):
            with socket.create_connection((place.host, place.port or 80), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                all_of(connection)


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
    status, headers, body = answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEAD_BYTES} bytes of headers"]}}


@pytest.mark.parametrize("end", [b"\r\n", b"x"], ids=["complete", "open"])
def test_a_head_of_many_short_headers_is_refused(connection: socket.socket, end: bytes) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + end)
    status, headers, body = answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEADERS} headers"]}}


def test_as_many_headers_as_are_allowed_are_answered(connection: socket.socket) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\nConnection: close\r\n" + b"x: y\r\n" * (MAX_HEADERS - 1) + b"\r\n")
    assert answer(connection)[0] == 200


@pytest.mark.parametrize("start", [b"1;", b"1\r\n{\r\n1;x=", b"1\r\n{\r\n0\r\nX-Long: "], ids=repr)
def test_what_stands_beside_a_body_is_bounded_as_a_head_is(connection: socket.socket, start: bytes) -> None:
    """A chunk's extension, and trailers."""
    connection.sendall(CHUNKED + start)
    time.sleep(0.1)  # else it may come in one piece with what follows
    connection.sendall(b"x" * (MAX_HEAD_BYTES + 1))
    status, headers, body = answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert body == {"errors": {"body": [f"has more than {MAX_HEAD_BYTES} bytes of headers"]}}


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
            status, headers, _ = answer(connection)
        assert status == 401
        assert headers["connection"] == "close"


def test_who_goes_on_sending_after_the_answer_is_not_listened_to_for_long(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.5)
    connection.sendall(b"PUT /api/articles/x-1/cover HTTP/1.1\r\nHost: x\r\nContent-Length: 4900000\r\n\r\n")
    assert answer(connection)[0] == 401
    started = time.monotonic()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while time.monotonic() - started < 10:
            connection.sendall(b"x")
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - started < 5


def test_the_rest_of_a_body_is_not_waited_for_after_an_answer_that_does_not_close(connection: socket.socket) -> None:
    asked = b"Origin: http://x.example\r\nAccess-Control-Request-Method: PUT\r\nContent-Length: 100\r\n\r\n"
    connection.sendall(b"OPTIONS /api/user HTTP/1.1\r\nHost: x\r\n" + asked)
    assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_malformed_body_of_the_apps_is_answered(connection: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    connection.sendall(CHUNKED + b"1\r\n{\r\n")
    time.sleep(0.1)
    connection.sendall(b"no number\r\n")
    status, headers, body = answer(connection)
    assert (status, headers["connection"], body) == (400, "close", UNREADABLE)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("end", [b"\x00\r\n\r\n", b"x: " + b"x" * MAX_HEAD_BYTES], ids=["unreadable", "too long"])
def test_the_headers_of_what_is_refused_are_not_kept(connection: socket.socket, end: bytes) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS - 1))
    time.sleep(0.1)
    connection.sendall(end)
    assert answer(connection)[0] in (400, 431)
    lingering = [one for one in gc.get_objects() if isinstance(one, BoundedHttp) and one.transport.is_lingering]
    assert lingering
    assert [len(one.headers) for one in lingering] == [0] * len(lingering)


def test_a_head_that_comes_too_slowly_is_given_up(url: str) -> None:
    parts = urlsplit(url)
    started = time.monotonic()  # it counts from the connection on
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        status, headers, _ = answer(connection)
    assert status == 408
    assert headers["connection"] == "close"
    assert HEAD_SECONDS <= time.monotonic() - started < 20 * HEAD_SECONDS


def test_a_head_that_begins_right_after_another_request_has_no_more_time(connection: socket.socket) -> None:
    connection.sendall(b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n")
    said = all_of(connection)
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
    status, headers, body = answer(connection)
    assert status == 400
    assert headers["connection"] == "close"
    assert body == UNREADABLE
