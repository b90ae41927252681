"""The API's boundary: a log line and a measurement a request, and a place for so many and no more."""

import io
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import UnavailableError
from conduit_testing.client import Api, errors
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_one_server

MOST = 4


@pytest.fixture(scope="module")
def written() -> io.BytesIO:
    """What the app has written to standard output."""
    return io.BytesIO()


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase, written: io.BytesIO) -> Iterator[Deployment]:
    # Held here: collected as garbage, it would close what it wraps.
    stdout = io.TextIOWrapper(written)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        with deployed_on_one_server(new_database, max_in_flight=MOST) as deployment:
            yield deployment


@pytest.fixture
def api(deployment: Deployment) -> Iterator[Api]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http)


def _counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("conduit_request_seconds_count", labels) or 0.0


def _until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.01)


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
    # Counted when the answer has gone out, so a moment after it came in.
    _until(lambda: _counted(**labels) == before + 3)
    assert (REGISTRY.get_sample_value("conduit_database_seconds_count", queries) or 0.0) >= read_before + 3
    unknown = _counted(method="other", route="none", status="404")
    for path in ("/a", "/b", "/c"):
        api.get(path)
    _until(lambda: _counted(method="other", route="none", status="404") == unknown + 3)


def test_who_asks_whether_it_is_ready_while_another_does_takes_no_thread(
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


def test_beyond_the_places_the_answer_is_503_at_once_and_health_is_still_told(api: Api, deployment: Deployment) -> None:
    jo = api.sign_up()
    with psycopg.connect(deployment.databases[0]) as lock, ThreadPoolExecutor(12) as threads:
        lock.execute("LOCK TABLE articles")
        waiting = [threads.submit(jo.get, "/articles") for _ in range(12)]
        # Nobody has an answer from the database yet, so whoever is done was refused.
        _until(lambda: sum(future.done() for future in waiting) >= 12 - MOST)
        shed = [future.result() for future in waiting if future.done()]
        lock.rollback()
        answers = [future.result() for future in waiting]
    assert [answer.status_code for answer in shed] == [503] * (12 - MOST)
    for answer in shed:
        assert "under way" in errors(answer)["body"][0]
        assert answer.headers["retry-after"] == "1"
    assert sorted(answer.status_code for answer in answers) == [200] * MOST + [503] * (12 - MOST)
    assert api.get("/articles").status_code == 200


def test_who_hangs_up_in_the_middle_of_a_body_is_no_failure_here(api: Api, deployment: Deployment) -> None:
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
