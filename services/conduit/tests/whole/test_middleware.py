"""The middleware: access log and metrics, limits on requests in flight, and limits on bodies."""

import contextlib
import io
import itertools
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import UnavailableError
from conduit.main import LARGE_BODIES_OF_A_USER
from conduit.middleware import request_limits
from conduit.routing.body import LARGE_BYTES
from conduit_testing.client import Api, errors
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server
from conduit_testing.waiting import until

MOST = 4
BODY_SECONDS = 1.5


@pytest.fixture(scope="module")
def written() -> io.BytesIO:
    """The app's standard output."""
    return io.BytesIO()


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase, written: io.BytesIO) -> Iterator[Deployment]:
    # Kept here: garbage collection would close the buffer that it wraps.
    stdout = io.TextIOWrapper(written)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        with deployed_on_one_server(new_database, max_in_flight=MOST, body_seconds=BODY_SECONDS) as deployment:
            yield deployment


@pytest.fixture
def api(deployment: Deployment) -> Iterator[Api]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http)


def _counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("conduit_request_seconds_count", labels) or 0.0


def test_a_request_is_one_line_of_json_with_its_id_route_and_time(api: Api, written: io.BytesIO) -> None:
    api.call("GET", "/articles/x-1", headers={"X-Request-Id": "mine"})
    time.sleep(0.1)
    lines: list[dict[str, Any]] = [json.loads(line) for line in written.getvalue().splitlines() if b"mine" in line]
    assert len(lines) == 1
    line = lines[0]
    assert (line["request_id"], line["method"], line["path"]) == ("mine", "GET", "/api/articles/x-1")
    assert (line["route"], line["status"], line["queries"]) == ("/api/articles/{slug}", 404, 1)
    assert line["ms"] >= line["database_ms"] > 0


def test_a_request_is_measured_by_route_and_status(api: Api) -> None:
    labels = {"method": "GET", "route": "/api/tags", "status": "200"}
    queries = {"server": "main", "kind": "read"}
    before = _counted(**labels)
    read_before = REGISTRY.get_sample_value("conduit_database_seconds_count", queries) or 0.0
    for _ in range(3):
        api.get("/tags")
    # The app counts after it has sent the response, so a moment after the client has it.
    until(lambda: _counted(**labels) == before + 3, "they were not counted")
    assert (REGISTRY.get_sample_value("conduit_database_seconds_count", queries) or 0.0) >= read_before + 3
    unknown = _counted(method="other", route="none", status="404")
    for path in ("/a", "/b", "/c"):
        api.get(path)
    until(lambda: _counted(method="other", route="none", status="404") == unknown + 3, "they were not counted")


def test_concurrent_readiness_probes_share_one_ping(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[float] = []

    def ping(_database: PostgresDatabase) -> None:
        pings.append(time.monotonic())
        time.sleep(0.5)
        if len(pings) == 1:
            raise UnavailableError("the database")

    monkeypatch.setattr(PostgresDatabase, "ping", ping)
    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(lambda _: api.http.get("/ready"), range(30)))
        assert len(pings) < 3
        assert answers[0].status_code == 503
        assert api.http.get("/ready").status_code == 200, "each answer is for those who asked before it"


def test_a_request_beyond_the_limit_is_503_at_once_and_probes_still_answer(api: Api, deployment: Deployment) -> None:
    jo = api.sign_up()
    with psycopg.connect(deployment.databases[0]) as lock, ThreadPoolExecutor(12) as threads:
        lock.execute("LOCK TABLE articles")
        waiting = [threads.submit(jo.get, "/articles") for _ in range(12)]
        # The database has answered nothing yet, so the finished requests were refused.
        until(lambda: sum(future.done() for future in waiting) >= 12 - MOST, "they were not refused")
        shed = [future.result() for future in waiting if future.done()]
        probes = [api.http.get(path) for path in ("/health", "/ready")]
        lock.rollback()
        answers = [future.result() for future in waiting]
    assert [answer.status_code for answer in shed] == [503] * (12 - MOST)
    assert [answer.status_code for answer in probes] == [200, 200], "a busy box is not a sick one"
    for answer in shed:
        assert "under way" in errors(answer)["body"][0]
        assert answer.headers["retry-after"] == "1"
    assert sorted(answer.status_code for answer in answers) == [200] * MOST + [503] * (12 - MOST)
    assert api.get("/articles").status_code == 200


def test_at_the_limit_who_waits_longest_gives_its_place_to_a_newcomer(new_database: NewDatabase) -> None:
    with (
        deployed_on_one_server(new_database, max_in_flight=3, threads=1, max_wait=30) as deployment,
        httpx.Client(base_url=deployment.base_url, timeout=20) as http,
        psycopg.connect(deployment.databases[0]) as lock,
        ThreadPoolExecutor(4) as threads,
    ):
        lock.execute("LOCK TABLE articles")
        asked: list[Future[httpx.Response]] = []
        for _ in range(3):
            asked.append(threads.submit(http.get, "/api/articles"))
            until(lambda: REGISTRY.get_sample_value("conduit_requests_in_flight") == len(asked), "it did not come")
        asked.append(threads.submit(http.get, "/api/articles"))
        assert asked[1].result(timeout=10).status_code == 503
        lock.rollback()
        assert [one.result(timeout=10).status_code for one in asked] == [200, 503, 200, 200]


def test_a_caller_who_disconnects_during_a_body_is_no_500(api: Api, deployment: Deployment) -> None:
    host, _, port = deployment.base_url.removeprefix("http://").partition(":")

    def failures() -> float:
        return sum(
            sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "conduit_request_seconds_count" and sample.labels["status"].startswith(("0", "5"))
        )

    before = failures()
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b'{"user": {"username"'
            )
            time.sleep(0.05)
    time.sleep(0.3)
    assert failures() == before
    assert api.get("/tags").status_code == 200


def _sending(
    deployment: Deployment, length: int | str, sent: bytes, headers: str = "", target: str = "POST /api/users"
) -> socket.socket:
    """A request, of whose body only this part has been sent."""
    host, _, port = deployment.base_url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = f"{target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def test_slow_bodies_do_not_block_others_and_end_with_408(api: Api, deployment: Deployment) -> None:
    slow = [_sending(deployment, 100, b"{") for _ in range(3 * MOST)]
    try:
        time.sleep(0.2)
        assert all(api.get("/tags").status_code == 200 for _ in range(10))
        for connection in slow:
            answer = connection.recv(4_000)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in answer.lower()
    finally:
        for connection in slow:
            connection.close()


def test_a_body_has_more_time_the_more_of_it_has_come(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "FIRST_SECONDS", 0.5)
    jo = '{"user": {"username": "%s", "email": "%s@example.com", "password": "long enough"}}' % (("trickler",) * 2)
    large = jo.encode().ljust(3 * request_limits.LEAST_BYTES_A_SECOND)
    with deployed_on_one_server(new_database) as deployment, httpx.Client(base_url=deployment.base_url) as http:
        token = Api(http).sign_up().token
        with _sending(deployment, 1_000, b"{") as trickling:
            for _ in range(3):
                time.sleep(0.1)
                trickling.sendall(b" ")
            said = trickling.recv(4_000)
            assert said.startswith(b"HTTP/1.1 408 ")
            assert b"did not arrive within 0.5 s" in said
        with _sending(deployment, len(large), large[:-1], f"Authorization: Token {token}\r\n", "PUT /api/user") as slow:
            time.sleep(1.5)
            slow.sendall(large[-1:])
            assert slow.recv(4_000).startswith(b"HTTP/1.1 200 ")


def test_whoever_stops_amid_a_body_is_not_waited_for(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though so much has come that it would have a minute."""
    monkeypatch.setattr(request_limits, "PAUSE_SECONDS", 0.5)
    with deployed_on_one_server(new_database) as deployment, httpx.Client(base_url=deployment.base_url) as http:
        signed = f"Authorization: Token {Api(http).sign_up().token}\r\n"
        started = time.monotonic()
        with _sending(deployment, 1_000_000, b"x" * 984_000, signed, "PUT /api/user") as still:
            said = still.recv(4_000)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.5 s" in said
        assert 0.5 <= time.monotonic() - started < 5


@pytest.mark.parametrize("signed", ["", "Authorization: Token x.y.z\r\n"], ids=["nobody", "a token that is none"])
@pytest.mark.parametrize("target", ["POST /api/articles", "PUT /api/user", "POST /api/articles/x-1/comments"])
def test_who_is_not_signed_in_is_refused_before_a_large_body(deployment: Deployment, target: str, signed: str) -> None:
    started = time.monotonic()
    with _sending(deployment, LARGE_BYTES, b"", signed, target) as connection:
        assert connection.recv(4_000).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - started < BODY_SECONDS


def test_a_user_with_many_tokens_has_the_places_of_one(new_database: NewDatabase) -> None:
    with (
        deployed_on_one_server(new_database, body_seconds=30) as deployment,
        httpx.Client(base_url=deployment.base_url) as http,
        contextlib.ExitStack() as slow,
    ):
        jo, ann = Api(http).sign_up(), Api(http).sign_up()
        tokens = {jo.token}
        while len(tokens) < 3:
            time.sleep(1)  # a token has the second in which it was issued
            tokens.add(Api(http).log_in(jo.email).json()["user"]["token"])

        def sent(token: str | None) -> socket.socket:
            signed = f"Authorization: Token {token}\r\n"
            connection = _sending(deployment, LARGE_BYTES, b"{", signed, "POST /api/articles")
            return slow.enter_context(contextlib.closing(connection))

        for token, _ in zip(itertools.cycle(tokens), range(LARGE_BODIES_OF_A_USER), strict=False):
            last = sent(token)
        last.settimeout(1)
        with pytest.raises(TimeoutError):
            last.recv(1)
        for token in tokens:
            assert sent(token).recv(4_000).startswith(b"HTTP/1.1 503 ")
        assert ann.publish(body="x" * LARGE_BYTES)
        last.close()
        published = {"article": {"title": "t", "description": "d", "body": "x" * LARGE_BYTES}}
        until(lambda: jo.post("/articles", published).status_code == 201, "its place was not free again")


@pytest.mark.parametrize("target", ["POST /api/users", "POST /api/users/login"])
def test_who_signs_in_or_up_sends_no_large_body(deployment: Deployment, target: str) -> None:
    with _sending(deployment, LARGE_BYTES + 1, b"", target=target) as connection:
        assert connection.recv(4_000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("blanks", [" ", "\t", "  "], ids=ascii)
def test_a_length_with_blanks_after_it_is_a_length(deployment: Deployment, blanks: str) -> None:
    with _sending(deployment, f"300000000{blanks}", b"") as connection:
        assert connection.recv(4_000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/articles", "/articles/nothing-1", "/tags"])
def test_a_body_that_its_route_does_not_read_does_not_bypass_the_limit(
    api: Api, deployment: Deployment, path: str
) -> None:
    jo = api.sign_up()
    with psycopg.connect(deployment.databases[0]) as lock, ThreadPoolExecutor(12) as threads:
        lock.execute("LOCK TABLE articles, tag_counts")
        asked = [threads.submit(jo.call, "GET", path, content=b"{}") for _ in range(12)]
        until(lambda: sum(future.done() for future in asked) >= 12 - MOST, "they were not refused")
        lock.rollback()
        answers = [future.result(20) for future in asked]
    assert sum(answer.status_code == 503 for answer in answers) == 12 - MOST
    assert {answer.headers["connection"] for answer in answers} == {"close"}, "the rest of a body is not waited for"


def test_the_memory_of_all_arriving_bodies_is_limited(new_database: NewDatabase) -> None:
    most, each = 5_000_000, 900_000
    with (
        deployed_on_one_server(new_database, max_body_bytes_at_once=most) as deployment,
        httpx.Client(base_url=deployment.base_url) as http,
    ):
        signed, put = f"Authorization: Token {Api(http).sign_up().token}\r\n", "PUT /api/user"
        arriving = [_sending(deployment, each + 100, b"x" * each, signed, put) for _ in range(most // each)]
        try:
            time.sleep(0.3)
            with _sending(deployment, each + 100, b"x" * each, signed, put) as refused:
                assert refused.recv(4_000).startswith(b"HTTP/1.1 503 ")
            assert http.get("/api/tags").status_code == 200
            Api(http).sign_up()  # a small body still comes in
        finally:
            for connection in arriving:
                connection.close()
        until(lambda: Api(http).sign_up().username != "", "it does not answer")


def test_sign_ins_leave_threads_for_reads(new_database: NewDatabase) -> None:
    with (
        deployed_on_one_server(new_database, threads=2, pool_size=2) as deployment,
        httpx.Client(base_url=deployment.base_url, timeout=20) as http,
        ThreadPoolExecutor(20) as callers,
    ):
        jo = Api(http).sign_up()
        signing_in = [callers.submit(Api(http).log_in, jo.email) for _ in range(40)]
        reads = [http.get("/api/tags").status_code for _ in range(20)]
        assert reads == [200] * 20
        assert {answer.result().status_code for answer in signing_in} <= {200, 503}


@pytest.mark.parametrize(("sent", "kept"), [("mine", True), ("", False), ("x" * 64, True), ("x" * 65, False)])
def test_a_request_id_is_the_callers_or_a_new_one(api: Api, sent: str, kept: bool) -> None:
    answer = api.call("GET", "/tags", headers={"X-Request-Id": sent})
    assert (answer.headers["x-request-id"] == sent) == kept
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN", "Bearer", "bearer"])
def test_the_case_of_a_token_scheme_is_ignored(api: Api, scheme: str) -> None:
    jo = api.sign_up()
    assert api.call("GET", "/user", headers={"Authorization": f"{scheme} {jo.token}"}).status_code == 200
    assert api.call("GET", "/user", headers={"Authorization": f"Basic {jo.token}"}).status_code == 401
