"""A media store that is down or hangs: requests that need it get a 503 within two seconds, and others do not notice."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conduit_testing.client import Api, Person, errors
from conduit_testing.containers import MEDIA_PASSWORD
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.pictures import upload
from conduit_testing.proxy import Proxy, proxied

MOST_SECONDS = 2.0
READING_SECONDS = 0.5
BACK_WITHIN_SECONDS = 3.0

every_break = pytest.mark.parametrize("broken", [Proxy.cut, Proxy.hold], ids=["refused", "hanging"])


@pytest.fixture(scope="module")
def proxy(object_store: str) -> Iterator[Proxy]:
    with proxied(object_store) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def http(proxy: Proxy, new_database: NewDatabase) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    settings = settings_for(migrated(new_database), media_url=proxy.url, media_password=MEDIA_PASSWORD)
    with (
        served(settings) as base_url,
        httpx.Client(base_url=base_url, timeout=10, limits=limits) as http,
    ):
        yield http


@pytest.fixture
def api(http: httpx.Client, proxy: Proxy) -> Iterator[Api]:
    yield Api(http)
    proxy.mend()


@pytest.fixture
def jo(api: Api) -> Person:
    return api.sign_up()


@pytest.fixture
def slug(jo: Person, proxy: Proxy) -> str:
    """An article with a cover."""
    slug = jo.slug()
    _until(200, lambda: jo.upload(slug, upload()))
    return slug


def _until(status: int, send: Callable[[], httpx.Response]) -> httpx.Response:
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while (response := send()).status_code != status:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)
    return response


def _is_unavailable_in_time(send: Callable[[], httpx.Response]) -> None:
    started = time.monotonic()
    response = send()
    seconds = time.monotonic() - started
    assert response.status_code == 503, response.text
    assert errors(response) == {"body": ["the media store is unavailable; try again shortly"]}
    assert response.headers["retry-after"] == "1"
    assert seconds < MOST_SECONDS


@every_break
def test_requests_that_need_a_file_fail_in_time_and_change_nothing(
    api: Api, jo: Person, slug: str, proxy: Proxy, broken: Callable[[Proxy], None]
) -> None:
    report = jo.post("/user/reports").json()["report"]
    before = api.article(slug)["cover"]
    broken(proxy)
    for send in (
        lambda: jo.upload(slug, upload("JPEG")),
        lambda: jo.upload(slug, upload("JPEG")),
        lambda: jo.post("/user/reports"),
        lambda: jo.get(report["url"].removeprefix("/api")),
        lambda: api.http.get(before["small"]),
    ):
        _is_unavailable_in_time(send)
    assert api.article(slug)["cover"] == before
    # The row says so, and there is no file.
    assert jo.delete(f"/articles/{slug}/cover").status_code == 200
    proxy.mend()
    after = _until(200, lambda: jo.upload(slug, upload("JPEG"))).json()["article"]["cover"]
    assert after["state"] == "ready"
    assert api.http.get(after["small"]).status_code == 200
    assert api.http.get(before["small"]).status_code == 200


@every_break
def test_readers_do_not_notice(
    api: Api, jo: Person, slug: str, proxy: Proxy, broken: Callable[[Proxy], None]
) -> None:
    report = jo.post("/user/reports").json()["report"]
    shown = api.article(slug)
    broken(proxy)
    with ThreadPoolExecutor(8) as threads:
        # As many as the app has threads, except for those that reads need.
        waiting = [threads.submit(jo.get, report["url"].removeprefix("/api")) for _ in range(7)]
        waiting.append(threads.submit(jo.upload, slug, upload("PNG")))
        for _ in range(20):
            started = time.monotonic()
            assert api.article(slug) == shown
            assert time.monotonic() - started < READING_SECONDS
            time.sleep(0.05)
        assert {future.result().status_code for future in waiting} == {503}
