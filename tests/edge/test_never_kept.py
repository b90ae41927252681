"""What the edge never keeps, and what it leaves as it is."""

from collections.abc import Iterator

import httpx
import pytest

from tests.edge.conftest import Edge, at_a_seconds_start, docker
from tests.edge.origin import Answer, Origin

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=401), Answer(status=403), Answer(status=422), Answer(status=429, headers={"Retry-After": "9"}),
        Answer(status=500), Answer(status=503), Answer(status=301, headers={"Location": "/"}),
        Answer(headers={"Set-Cookie": "a=b"}), Answer(headers={"Cache-Control": "private, max-age=60"}),
        Answer(headers={"Cache-Control": "no-store"}), Answer(headers={"Cache-Control": "max-age=9"}),
        Answer(headers={"X-Accel-Expires": "60", "Set-Cookie": "a=b"}),
    ],
    ids=str,
)  # fmt: skip
def test_is_not_kept(edge: Edge, origin: Origin, article: int, answer: Answer) -> None:
    origin.answer = lambda _: answer
    for number in (1, 2, 3):
        assert edge.get(f"/api/articles/{article}").status_code == answer.status
        assert len(origin.asked) == number


def test_who_signs_in_gets_past_what_is_kept_and_leaves_nothing(edge: Edge, origin: Origin, article: int) -> None:
    for path in (f"/api/articles/x-{article}", f"/api/articles?tag={article}", f"/media/{article}.webp", "/settings"):
        for token in ("Token jo", "Token ann", "Bearer x", "nonsense"):
            answer = edge.get(path, Authorization=token)
            assert (answer.json()["viewer"], answer.headers["x-cache"]) == (token, "BYPASS"), path
            assert "age" not in answer.headers
        assert edge.get(path).json()["viewer"] is None
        assert edge.get(path, Authorization="Token jo").json()["viewer"] == "Token jo"
        assert edge.get(path).json()["viewer"] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_go_through_as_they_are(edge: Edge, origin: Origin, article: int, method: str) -> None:
    path = f"/api/articles/x-0{article}?b=2&a=1"
    edge.get(path)
    origin.asked.clear()
    for _ in range(2):
        answer = httpx.request(method, f"{edge.url}{path}", content=b"what is sent")
        assert answer.headers["x-cache"] == "BYPASS"
    assert [(asked.method, asked.path, asked.body) for asked in origin.asked] == [(method, path, b"what is sent")] * 2


def test_no_answer_brings_anothers_request_id_or_address(edge: Edge, origin: Origin, word: str) -> None:
    ids = [edge.get(f"/api/articles?tag={word}").headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert edge.get(f"/api/articles?tag={word}", X_Request_Id="mine").headers["x-request-id"] == "mine"
    edge.get("/health", X_Forwarded_For="203.0.113.9", X_Edge_Mark="x")
    assert origin.asked[-1].headers["x-forwarded-for"] == edge.gateway


def _most(path: str) -> int:
    """The largest body that the app takes there."""
    if path.endswith("/cover"):
        return 5_000_000
    return 16_000 if path.startswith("/api/users") else 1_000_000


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("path", ["/api/articles/x-1", "/api/users/login", "/profile/x", "/api/articles/x-1/cover"])
def test_a_body_larger_than_the_app_takes_is_refused_here_and_the_connection_says_that_it_ends(
    edge: Edge, path: str, method: str, in_pieces: bool
) -> None:
    url, most = f"{edge.url}{path}", _most(path)

    def sent(size: int) -> Iterator[bytes] | bytes:
        return (b"x" * min(65_536, size - start) for start in range(0, size, 65_536)) if in_pieces else b"x" * size

    assert httpx.request(method, url, content=sent(most), timeout=15).status_code == 200
    refused = httpx.request(method, url, content=sent(most + 1), timeout=15)
    assert (refused.status_code, refused.headers["connection"]) == (413, "close")
    assert refused.json() == {"errors": {"body": [f"is larger than {most} bytes"]}}


def _kilobytes_in_tmp(edge: Edge) -> int:
    tmp = "/tmp"  # noqa: S108 - the container's own
    return int(docker("exec", edge.container, "df", "--output=used", "-k", tmp).split()[-1])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    ["/health", "/feed", "/assets/{}.js", "/api/articles?tag={}", "/api/articles/x-{}", "/api/articles/x-{}/cover"],
)
def test_no_body_waits_at_the_edge_and_reading_with_one_is_not_kept(
    edge: Edge, origin: Origin, article: int, method: str, path: str
) -> None:
    path, size, before = path.format(article), _most(path), _kilobytes_in_tmp(edge)
    held = []

    def content() -> Iterator[bytes]:
        yield b"x" * (size - 1)
        held.append(_kilobytes_in_tmp(edge))  # not after the end, when it may be gone already
        yield b"x"

    headers = {"Content-Length": str(size)}
    for _ in range(2):
        answer = httpx.request(method, f"{edge.url}{path}", content=content(), headers=headers)
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "BYPASS")
    assert [len(asked.body) for asked in origin.asked_for(path)] == [size] * 2
    assert max(held) - before < size / 4_000


def test_reading_that_says_it_has_no_body_is_kept(edge: Edge, origin: Origin, article: int) -> None:
    path = f"/api/articles/x-{article}"
    at_a_seconds_start()
    assert [edge.get(path, Content_Length="0").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_what_cannot_be_read_is_told_in_the_apis_shape_and_long_tokens_get_through(edge: Edge, origin: Origin) -> None:
    assert edge.get("/api/user", Authorization=f"Token {'x' * 20_000}").status_code == 200
    refused = edge.get("/api/user", Authorization=f"Token {'x' * 40_000}")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["body"])
