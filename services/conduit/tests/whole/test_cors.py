"""Pages on other origins: what a browser asks before, and what lets it read the answers, errors among them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from conduit.adapters.reads_sql import SqlReads
from conduit.routing.body import LARGE_BYTES
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.waiting import until

BODY_SECONDS = 0.5
FRONT_END = "http://front.example:4100"
OTHER = "http://other.example"


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> str:
    return migrated(new_database)


@pytest.fixture(params=["*", f"{FRONT_END}, https://also.example", ""], ids=["everybody", "listed", "nobody"])
def origins(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def http(url: str, origins: str, tmp_path: Path) -> Iterator[httpx.Client]:
    settings = settings_for(
        url, media_dir=tmp_path, cors_origins=origins, max_in_flight=1, body_seconds=BODY_SECONDS
    )
    with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
        yield http


def _may_read(response: httpx.Response, origin: str) -> bool:
    return response.headers.get("access-control-allow-origin") in ("*", origin)


def test_only_allowed_origins_may_read_answers_and_errors(http: httpx.Client, origins: str) -> None:
    for origin in (FRONT_END, OTHER):
        allowed = origins == "*" or origin in origins
        for path, status in (("/api/articles", 200), ("/api/articles/nothing-1", 404), ("/api/user", 401)):
            response = http.get(path, headers={"Origin": origin})
            assert response.status_code == status
            assert _may_read(response, origin) is allowed, (path, origin)
            assert response.headers.get("access-control-allow-credentials") is None, "tokens are no cookies"
    assert "access-control-allow-origin" not in http.get("/api/articles").headers


def test_an_allowed_origin_may_read_that_the_app_is_overloaded(http: httpx.Client, url: str, origins: str) -> None:
    with psycopg.connect(url) as lock, ThreadPoolExecutor(1) as threads:
        lock.execute("LOCK TABLE articles")
        held = threads.submit(http.get, "/api/articles")
        until(lambda: _waits_for_a_lock(url), "it does not wait")
        response = http.get("/api/tags", headers={"Origin": FRONT_END})
        lock.rollback()
        assert held.result().status_code == 200
    assert response.status_code == 503
    assert _may_read(response, FRONT_END) is bool(origins)


def _waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as watching:
        waiting = watching.execute(
            "SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        )
        return waiting.fetchone() is not None


def test_an_allowed_origin_may_read_that_its_body_is_too_large_or_too_slow(http: httpx.Client, origins: str) -> None:
    def slowly() -> Iterator[bytes]:
        yield b"{"
        time.sleep(3 * BODY_SECONDS)
        yield b"}"

    for content, status in ((b"x" * (LARGE_BYTES + 1), 413), (slowly(), 408)):
        response = http.post("/api/users", content=content, headers={"Origin": FRONT_END})
        assert response.status_code == status
        assert _may_read(response, FRONT_END) is bool(origins)


def test_an_allowed_origin_may_read_that_the_app_failed(
    http: httpx.Client, origins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tags(_reads: SqlReads) -> list[str]:
        raise AssertionError("a bug")

    monkeypatch.setattr(SqlReads, "tags", tags)
    response = http.get("/api/tags", headers={"Origin": FRONT_END})
    assert response.status_code == 500
    assert _may_read(response, FRONT_END) is bool(origins)


def test_an_answer_for_a_listed_origin_varies_by_it(http: httpx.Client, origins: str) -> None:
    response = http.get("/api/articles", headers={"Origin": FRONT_END})
    assert "origin" in response.headers.get("vary", "").lower() or FRONT_END not in origins


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_browser_may_send_what_the_api_takes(http: httpx.Client, origins: str, method: str) -> None:
    asked = {
        "Origin": FRONT_END,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    response = http.options("/api/articles", headers=asked)
    if not origins:
        assert response.status_code == 400
        return
    assert response.status_code == 200
    assert _may_read(response, FRONT_END)
    assert method in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type"))
    assert int(response.headers["access-control-max-age"]) > 0
