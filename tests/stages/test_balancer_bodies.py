"""What the balancer does about bodies: those too large, those that come slowly, and how many at once."""

import socket
import time
from contextlib import ExitStack

import httpx
import pytest

from conduit_testing.client import errors
from tests.stages.balanced import AT_ONCE, Balanced, all_answer, docker, in_time

pytestmark = pytest.mark.docker

LARGE_OF_ONE_SENDER = 4


@pytest.mark.parametrize(("path", "most"), [("/api/articles", 1_000_000), ("/api/articles/a-1/cover", 5_000_000)])
def test_what_is_too_large_for_the_app_does_not_reach_it(lb: Balanced, path: str, most: int) -> None:
    taken = httpx.put(f"{lb.url}{path}", content=b"x" * most)
    assert (taken.status_code, taken.json()["bytes"]) == (200, most)
    before = len(lb.asked(path))
    refused = httpx.put(f"{lb.url}{path}", content=b"x" * (most + 1))
    assert (refused.status_code, errors(refused)) == (413, {"body": [f"is larger than {most} bytes"]})
    assert len(lb.asked(path)) == before


def test_a_small_body_that_comes_slowly_holds_no_app(lb: Balanced) -> None:
    path = "/api/slowly"
    with _sending(lb, "Content-Length: 15000", 10_000, path) as connection:
        time.sleep(0.5)
        assert lb.asked(path) == []
        connection.sendall(b"x" * 5_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert len(lb.asked(path)) == 1


def _sending(lb: Balanced, headers: str, sent: int, path: str = "/api/held", method: str = "PUT") -> socket.socket:
    """A client in the middle of a body."""
    host, _, port = lb.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"
    connection.sendall(head.encode("latin-1") + b"x" * sent)
    return connection


def _kilobytes_in_tmp(lb: Balanced) -> int:
    tmp = "/tmp"  # noqa: S108 - the container's own
    return int(docker("exec", lb.container("lb"), "df", "--output=used", "-k", tmp).split()[-1])


def _is_refused(answer: httpx.Response) -> bool:
    assert (answer.status_code, answer.headers.get("retry-after")) in ((200, None), (503, "1"))
    if answer.status_code == 503:
        assert errors(answer) == {"body": ["too many requests are under way; try again shortly"]}
    return answer.status_code == 503


def test_a_sender_of_slow_large_bodies_keeps_only_itself_out(lb: Balanced) -> None:
    all_answer(lb)
    slow, other = ({"Authorization": f"Token {who}.of.mine"} for who in ("slow", "other"))
    with ExitStack() as held, httpx.Client(base_url=lb.url) as http:
        for place in range(LARGE_OF_ONE_SENDER):
            length = "Content-Length: 900000" if place else "Transfer-Encoding: chunked"
            # One sender, however scheme and signature are written.
            written = ("Token slow.of.mine", "token  \tslow.of.mine=", "Bearer slow.of.!", "BEARER slow.of.mine\xa0")
            headers = f"Authorization: {written[place]}\r\n{length}"
            path = "/api/held" if place % 2 else "/api/articles/held-1/cover"
            held.enter_context(_sending(lb, headers, 100_000 if place else 0, path))
        time.sleep(0.5)  # until each has its place: who asks sooner may take one from them
        in_time(lambda: _is_refused(http.put("/api/large", content=b"x" * 16_000, headers=slow)))
        for path in ("/api/large", "/a-page", "/api/articles/a-1/cover"):
            for content in (b"x" * 16_000, iter([b"of unknown length"])):
                assert _is_refused(http.put(path, content=content, headers=slow))
            assert not _is_refused(http.put(path, content=b"x" * 16_000, headers=other))
        assert http.put("/api/small", content=b"x" * 15_999, headers=slow).json()["bytes"] == 15_999
        assert http.get("/api/small", headers=slow).status_code == 200
    in_time(lambda: not _is_refused(httpx.put(f"{lb.url}/api/large", content=b"x" * 16_000, headers=slow)))


def test_slow_large_bodies_of_many_hold_no_place_of_others(lb: Balanced) -> None:
    all_answer(lb)
    with ExitStack() as held, httpx.Client(base_url=lb.url) as http:
        for place in range(2 * AT_ONCE):
            held.enter_context(_sending(lb, f"Authorization: Token {place}.of.his\r\nContent-Length: 900000", 100_000))
        time.sleep(0.5)  # until each has its place: who asks sooner may take one from them
        another = {"Authorization": "Token x.of.mine"}
        in_time(lambda: _is_refused(http.put("/api/large", content=b"x" * 16_000, headers=another)))
        assert http.put("/api/small", content=b"x" * 15_999).json()["bytes"] == 15_999
        assert http.get("/api/small").status_code == 200
        assert http.get("/a-page").status_code == 200
    all_answer(lb)


def test_what_is_no_token_is_no_sender_and_left_to_the_app(lb: Balanced) -> None:
    """Which refuses it before its body is read. Keys of 30 kB, one for each spelling, would fill the memory."""
    all_answer(lb)
    with ExitStack() as held:
        no_token = "\xa0" * 25_000 + "slow.of.mine"
        for _ in range(LARGE_OF_ONE_SENDER):
            held.enter_context(_sending(lb, f"Authorization: Token {no_token}\r\nContent-Length: 900000", 100_000))
        time.sleep(0.5)
        headers = {b"Authorization": f"Token {no_token}".encode("latin-1")}
        assert not _is_refused(httpx.put(f"{lb.url}/api/large", content=b"x" * 16_000, headers=headers))


@pytest.mark.parametrize("path", ["/api/large", "/api/articles/a-1/cover", "/a-page"])
def test_after_a_body_that_was_not_kept_here_the_connection_ends_and_says_so(lb: Balanced, path: str) -> None:
    for content, said in ((b"x" * 16_000, "close"), (iter([b"no length"]), "close"), (b"x" * 15_999, "keep-alive")):
        answer = httpx.put(f"{lb.url}{path}", content=content)
        assert answer.headers["connection"] == said


def test_no_body_waits_in_tmp(lb: Balanced) -> None:
    all_answer(lb)
    with ExitStack() as held:
        for _ in range(32):
            held.enter_context(_sending(lb, "Content-Length: 15999", 15_998))
        large = held.enter_context(_sending(lb, "Content-Length: 900000", 800_000))
        held.enter_context(_sending(lb, "Content-Length: 900000", 800_000, "/media/a.webp", "GET"))
        time.sleep(1.0)
        assert _kilobytes_in_tmp(lb) < 100
        large.sendall(b"x" * 100_000)
        assert large.recv(100).startswith(b"HTTP/1.1 200")
