"""Pages on other origins: what a browser asks before, and what lets it read the answers, errors among them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conduit_testing.deployments import NewDatabase, migrated, served, settings_for

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
    settings = settings_for(url, media_dir=tmp_path, cors_origins=origins, max_in_flight=1)
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
