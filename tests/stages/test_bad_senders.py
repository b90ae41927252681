"""Slow, endless and senseless input from outside, at every stage: it is refused, costs little, and keeps nobody out."""

import contextlib
import itertools
import json
import random
import re
import secrets
import socket
import time
from collections.abc import Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from conduit_testing.client import Api
from infra.stage.stages import available
from tests.running import PORTS, Stage, Stages, run

SLOW_SENDERS = 30  # of each kind
TOKENS_OF_ONE = 8
# What the app throws away after a refusal, and what the kernel and Docker's proxy hold of a connection.
ON_ITS_WAY = 40_000_000
ENDLESS_BYTES = 50_000_000
LONGEST_SECONDS = 45  # a head may take ten, a body as long as it grows


def _at(in_ci: Container[int]) -> pytest.MarkDecorator:
    """Every stage; those that CI leaves out, make test-long asks."""
    numbers = [
        pytest.param(number, marks=[pytest.mark.stage(number), *([] if number in in_ci else [pytest.mark.long])])
        for number in available()
    ]
    return pytest.mark.parametrize("number", numbers)


# Stage 2 has what stage 1 has between a sender and the app: nothing.
wherever_it_differs = _at({number for number in available() if number != 2})
# What waits for as long as a sender may take: with and without a balancer.
slowly = _at({available()[0], available()[-1]})
pytestmark = pytest.mark.docker


@pytest.fixture
def stage(stages: Stages, number: int) -> Stage:
    return stages.bring_up(number)[0]


@contextlib.contextmanager
def _connected(stage: Stage, seconds: float = LONGEST_SECONDS) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", PORTS[stage.number]), timeout=seconds) as connection:
        yield connection


def _answered(connection: socket.socket) -> bytes:
    """All that comes until the other side closes. Fails where it does not."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65_536):
            said += data
    return said


def _statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"(?:^|\n|\})HTTP/1\.[01] (\d{3})", said)]


def _request(line: str, *headers: str) -> bytes:
    """One whose headers may go on: without the empty line after them."""
    return "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *headers, ""]).encode()


END = b"\r\n"
PIECES = "Transfer-Encoding: chunked"
TOKEN = "Authorization: Token {token}"
JUNK = {
    "noise": random.Random(15).randbytes(20_000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": _request("/api/tags") + END,
    "a NUL": _request("GET /api/tags", "X: a\0b") + END,
    "a header without a name": _request("GET /api/tags", ": x") + END,
    "a negative length": _request("POST /api/users", "Content-Length: -1") + END,
    "a length of letters": _request("POST /api/users", "Content-Length: ten") + END,
    "a length beyond all numbers": _request("POST /api/users", f"Content-Length: {'9' * 30}") + END,
    "two lengths": _request("POST /api/users", "Content-Length: 3", "Content-Length: 5") + END + b"{}   ",
    "a length and pieces": _request("POST /api/users", "Content-Length: 4", PIECES)
    + END
    + b"0\r\n\r\n"
    + _request("GET /api/smuggled")
    + END,
    "pieces without a size": _request("POST /api/users", PIECES) + END + b"xyz\r\n\r\n",
    "a piece beyond all numbers": _request("POST /api/users", PIECES) + END + b"f" * 20 + b"\r\n\r\n",
}


@wherever_it_differs
@pytest.mark.parametrize("sent", JUNK)
def test_junk_is_refused_and_the_connection_closed(stage: Stage, sent: str) -> None:
    with _connected(stage) as connection:
        connection.sendall(JUNK[sent])
        said = _answered(connection)
    (status,) = _statuses(said)  # what comes after a request that cannot be read is none
    assert 400 <= status < 500 or status in (501, 505), said
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head.lower()
    assert list(json.loads(body)["errors"]) == ["body"]
    assert stage.get("/api/tags").status_code == 200


# How each begins, and what comes again and again.
ENDLESS = {
    "address": (b"GET /api/tags?", b"x" * 8_000),
    "header": (_request("GET /api/tags") + b"X: ", b"x" * 8_000),
    "headers": (_request("GET /api/tags"), b"x: y\r\n" * 1_000),
    "body": (_request("POST /api/articles", TOKEN, PIECES) + END, b"1f40\r\n" + b"x" * 8_000 + b"\r\n"),
    "size of a piece": (_request("POST /api/articles", TOKEN, PIECES) + END + b"1;", b"x" * 8_000),
    "trailers": (_request("POST /api/articles", TOKEN, PIECES) + END + b"2\r\n{}\r\n0\r\n", b"x: y\r\n" * 1_000),
    "trailer": (_request("POST /api/articles", TOKEN, PIECES) + END + b"2\r\n{}\r\n0\r\nX: ", b"x" * 8_000),
    "body with a blank after its length": (
        _request("POST /api/articles", TOKEN, "Content-Length: 300000000 ") + END,
        b"x" * 8_000,
    ),
    "body of a preflight": (
        _request(
            "OPTIONS /api/articles",
            "Origin: http://front.example",
            "Access-Control-Request-Method: POST",
            "Content-Length: 300000000",
        )
        + END,
        b"x" * 8_000,
    ),
}


@wherever_it_differs
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused_before_it_costs_memory(stage: Stage, kind: str) -> None:
    start, piece = ENDLESS[kind]
    before = _starts(stage)
    with httpx.Client(base_url=stage.url, timeout=10) as http:
        token = Api(http).sign_up().token or ""
        with _connected(stage) as connection:
            connection.sendall(start.replace(b"{token}", token.encode()))
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < ENDLESS_BYTES:
                    sent += connection.send(piece)
            said = _answered(connection) if sent < ENDLESS_BYTES else b""
        # A preflight is answered without its body.
        assert {*_statuses(said)} <= ({200} if kind == "body of a preflight" else {400, 408, 413, 414, 431}), said
        # NGINX reads on for a while after it has refused, and throws away what comes.
        assert sent < ON_ITS_WAY or stage.number >= 3
        assert http.get("/api/tags").status_code == 200
    assert _starts(stage) == before


STILL = b"still listened to"


def _filled(start: bytes, values: Mapping[bytes, bytes]) -> bytes:
    for name, value in values.items():
        start = start.replace(name, value)
    return start


def _drip(stage: Stage, start: bytes, over: Event) -> bytes:
    """Send a byte a second until the other side closes, which may be some time after it has answered. What was said."""
    said, until = b"", time.monotonic() + LONGEST_SECONDS
    with contextlib.suppress(ConnectionError), _connected(stage) as connection:
        connection.sendall(start)
        connection.settimeout(1)
        while time.monotonic() < until and not over.is_set():
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                data = connection.recv(65_536)
                if not data:
                    return said
                said += data
        return said + STILL
    return said


# How each may be refused: by the way it comes, or before that, because nobody is signed in or all places are taken.
REFUSED = {
    "head": {400, 408},
    "small body": {408},
    "large body": {401, 408, 503},
    "large body with a token": {408, 503},
    "upload": {401, 408, 503},
    "upload with a token": {408, 503},
}
SLOW = {
    "head": _request("GET /api/tags") + b"X: ",
    "small body": _request("POST /api/users/login", "Content-Length: 900") + END + b"{",
    "large body": _request("POST /api/articles", "Content-Length: 900000") + END + b"{",
    "large body with a token": _request("POST /api/articles", TOKEN, "Content-Length: 900000") + END + b"{",
    "upload": _request("PUT /api/articles/{slug}/cover", "Content-Length: 4900000") + END + b"x",
    "upload with a token": _request("PUT /api/articles/{slug}/cover", TOKEN, "Content-Length: 4900000") + END + b"x",
}


@slowly
def test_who_sends_slowly_keeps_nobody_out_and_is_given_up(stage: Stage) -> None:
    before = _starts(stage)
    # The balancer waits for as long as such a body comes, which costs nobody else anything.
    waited_for = {"small body"} if stage.number >= 3 else set()
    with httpx.Client(base_url=stage.url, timeout=10) as http, ThreadPoolExecutor(SLOW_SENDERS * len(SLOW)) as threads:
        writer, other = Api(http).sign_up(), Api(http).sign_up()
        tokens = [other.token or ""]
        while len(tokens) < TOKENS_OF_ONE:
            time.sleep(1)  # a token has the second in which it was issued
            tokens.append(Api(http).log_in(other.email).json()["user"]["token"])
        slug, over = other.slug().encode(), Event()
        slow = {
            kind: [
                threads.submit(_drip, stage, _filled(start, {b"{token}": token.encode(), b"{slug}": slug}), over)
                for token, _ in zip(itertools.cycle(tokens), range(SLOW_SENDERS), strict=False)
            ]
            for kind, start in SLOW.items()
        }
        time.sleep(1)
        rounds = 0
        while not all(one.done() for kind, of_kind in slow.items() if kind not in waited_for for one in of_kind):
            rounds += 1
            assert http.get(f"/api/articles?tag={secrets.token_hex(4)}").status_code == 200
            assert http.get("/login").status_code == 200
            writer.publish(body="x" * 20_000)
            time.sleep(0.2)
        over.set()
    assert rounds > 5, "they were slow"
    for kind, of_kind in slow.items():
        told = [one.result() for one in of_kind]
        if kind in waited_for:
            continue
        assert not any(STILL in said for said in told), kind
        assert {status for said in told for status in _statuses(said)} <= REFUSED[kind], (kind, told[:3])
        # NGINX ends a connection whose head does not come without a word.
        assert any(map(_statuses, told)) or (kind == "head" and stage.number >= 3), kind
    assert _starts(stage) == before


def _starts(stage: Stage) -> list[str]:
    """When each box was started last, and whether one was out of memory since."""
    form = "{{.Name}} {{.State.StartedAt}} {{.State.OOMKilled}}"
    return [
        run(["docker", "inspect", "-f", form, one], stage.folder) for one in stage.compose("ps", "--quiet").split()
    ]
