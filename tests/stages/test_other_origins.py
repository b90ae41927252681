"""A front end on another origin, at every stage; and what balancer and edge answer themselves."""

import json
import secrets
import socket

import httpx
import pytest

from conduit_testing.client import Api
from conduit_testing.pictures import upload
from infra.stage.stages import available
from tests.running import PORTS, Stage, Stages

ORIGIN = "http://front.example:4100"
every_stage = pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.stage(n)) for n in available()])


@pytest.fixture
def stage(stages: Stages, number: int) -> Stage:
    return stages.bring_up(number)[0]


def _may_read(response: httpx.Response) -> bool:
    return response.headers.get_list("access-control-allow-origin") == ["*"]


@every_stage
@pytest.mark.docker
def test_a_page_of_another_origin_may_send_and_read(stage: Stage) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with httpx.Client(base_url=stage.url, headers={"Origin": ORIGIN}, timeout=10) as http:
        preflight = http.options("/api/articles", headers=asked)
        assert preflight.status_code == 200
        assert _may_read(preflight)
        jo = Api(http).sign_up()
        slug = jo.slug()
        for response in (
            jo.get(f"/articles/{slug}"),
            http.get("/api/articles"),
            http.get("/api/articles/nothing-1"),
            http.get("/api/user"),
            http.get(jo.cover(slug, upload())["small"]),
            http.post("/api/articles", content=b"{"),
        ):
            assert _may_read(response), response.request.url
            assert "X-Request-Id" in response.headers["access-control-expose-headers"]


@every_stage
@pytest.mark.docker
def test_an_answer_that_is_kept_is_for_every_origin(stage: Stage) -> None:
    """Asked for by a page of the site first, then by one of another origin, and the other way round."""
    with httpx.Client(base_url=stage.url, timeout=10) as http:
        for first, then in (({}, {"Origin": ORIGIN}), ({"Origin": ORIGIN}, {})):
            path = f"/api/articles?tag={secrets.token_hex(4)}"
            answers = [http.get(path, headers=headers) for headers in (first, then)]
            assert [response.status_code for response in answers] == [200, 200]
            assert [_may_read(response) for response in answers] == ["Origin" in headers for headers in (first, then)]


@every_stage
@pytest.mark.docker
def test_what_is_refused_before_the_app_may_be_read(stage: Stage) -> None:
    with httpx.Client(base_url=stage.url, headers={"Origin": ORIGIN}, timeout=10) as http:
        signed_in = {"Authorization": f"Token {Api(http).sign_up().token}"}
        refused = http.post("/api/articles", content=b"x" * 5_500_000, headers=signed_in)
        assert refused.status_code == 413
        assert _may_read(refused)
        too_long = http.get("/api/tags", headers={"X-Long": "x" * 600_000})
        assert too_long.status_code in (400, 431)
        assert _may_read(too_long)


LONG = "x" * 40_000
UNREADABLE = {
    "no host": (b"GET /api/tags HTTP/1.1\r\n\r\n", {400}),
    "nonsense": (b"\x16\x03\x01nonsense\r\n\r\n", {400}),
    "a long address": (f"GET /api/tags?{LONG} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), {414}),
    "a long header": (f"GET /api/tags HTTP/1.1\r\nHost: x\r\nX: {LONG}\r\n\r\n".encode(), {400}),
    "another encoding": (b"POST /api/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", {501}),
    "a method that is not served": (b"TRACE /api/tags HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "another version": (b"GET /api/tags HTTP/2.0\r\nHost: x\r\n\r\n", {505}),
}


@every_stage
@pytest.mark.docker
def test_what_is_there_for_errors_only_is_not_found(stage: Stage) -> None:
    for path in ("/bad-request", "/too-long", "/kept"):
        answer = httpx.get(f"{stage.url}{path}", timeout=10)
        assert (answer.status_code, "errors" in answer.json()) == (404, True)


@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.stage(n)) for n in available() if n >= 3])
@pytest.mark.parametrize("sent", UNREADABLE)
@pytest.mark.docker
def test_what_nginx_answers_itself_has_the_apis_form_and_says_that_it_closes(stage: Stage, sent: str) -> None:
    request, statuses = UNREADABLE[sent]
    with socket.create_connection(("127.0.0.1", PORTS[stage.number]), timeout=10) as connection:
        connection.sendall(request)
        said = b""
        while data := connection.recv(65_536):
            said += data
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(status.split()[1]) in statuses
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert list(json.loads(body)["errors"]) == ["body"]
