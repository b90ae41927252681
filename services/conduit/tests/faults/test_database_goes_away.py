"""A database that is down or hangs: 503 within two seconds, never a 500, and the app recovers by itself."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from conduit import images, tasks
from conduit.image_structure import Image
from conduit_testing.client import PASSWORD, Api, Person, errors, fresh
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.pictures import upload
from conduit_testing.proxy import Proxy, proxied

MOST_SECONDS = 2.0
BACK_WITHIN_SECONDS = 5.0
Break = Callable[[Proxy], None]

BREAKS = {"refused": Proxy.cut, "hanging": Proxy.hold}
every_break = pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)


@pytest.fixture(scope="module")
def proxy(new_database: NewDatabase) -> Iterator[Proxy]:
    with proxied(migrated(new_database)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def http(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    with (
        served(settings_for(proxy.url, media_dir=tmp_path_factory.mktemp("media"))) as base_url,
        httpx.Client(base_url=base_url, timeout=10, limits=limits) as http,
    ):
        yield http


@pytest.fixture
def api(http: httpx.Client, proxy: Proxy) -> Iterator[Api]:
    _wait_until_back(http)
    yield Api(http)
    proxy.mend()


def _wait_until_back(http: httpx.Client) -> float:
    """The seconds until the database was used again."""
    started = time.monotonic()
    while (response := http.get("/ready")).status_code != 200:
        assert response.status_code == 503, response.text
        assert time.monotonic() < started + BACK_WITHIN_SECONDS, "the app did not recover"
        time.sleep(0.05)
    return time.monotonic() - started


def _is_unavailable_in_time(send: Callable[[], httpx.Response]) -> float:
    started = time.monotonic()
    response = send()
    seconds = time.monotonic() - started
    assert response.status_code == 503, response.text
    # By the database's absence, or by the queue of those whom it keeps waiting.
    assert re.search("unavailable|too many requests", errors(response)["body"][0])
    assert int(response.headers["retry-after"]) >= 1
    assert seconds < MOST_SECONDS
    return seconds


def _requests(api: Api, jo: Person, slug: str) -> list[Callable[[], httpx.Response]]:
    """A request to every route that needs the database."""
    new = {"username": fresh(), "email": f"{fresh()}@example.com", "password": PASSWORD}
    draft = {"title": "t", "description": "d", "body": "b"}
    return [
        lambda: api.http.get("/ready"),
        lambda: api.get("/articles"),
        lambda: jo.get("/articles"),
        lambda: jo.get("/articles/feed"),
        lambda: api.get(f"/articles/{slug}"),
        lambda: jo.get(f"/articles/{slug}/comments"),
        lambda: api.get("/tags"),
        lambda: jo.get(f"/profiles/{jo.username}"),
        lambda: jo.get("/user"),
        lambda: api.log_in(jo.email),
        lambda: api.post("/users", {"user": new}),
        lambda: jo.put("/user", {"user": {"username": fresh()}}),
        lambda: jo.post("/articles", {"article": draft}),
        lambda: jo.put(f"/articles/{slug}", {"article": {"title": "new"}}),
        lambda: jo.post(f"/articles/{slug}/favorite"),
        lambda: jo.post(f"/articles/{slug}/comments", {"comment": {"body": "x"}}),
        lambda: jo.post(f"/profiles/{fresh()}/follow"),
        lambda: jo.upload(slug, upload()),
        lambda: jo.delete(f"/articles/{slug}/cover"),
        lambda: jo.post("/user/reports"),
        lambda: jo.get("/user/reports/1"),
        lambda: jo.get("/user/reports/1/audience.csv"),
        lambda: jo.delete(f"/articles/{slug}"),
    ]


@every_break
def test_every_route_answers_503_in_time_and_works_when_the_database_is_back(
    api: Api, proxy: Proxy, broken: Break
) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    broken(proxy)
    for send in _requests(api, jo, slug):
        _is_unavailable_in_time(send)
    assert api.http.get("/health").status_code == 200
    proxy.mend()
    _wait_until_back(api.http)
    assert jo.get("/user").status_code == 200
    assert api.article(slug)["favoritesCount"] == 0


@every_break
def test_thirty_concurrent_requests_all_get_a_503_in_time(api: Api, proxy: Proxy, broken: Break) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    draft = {"title": "t", "description": "d", "body": "b"}
    sends = [
        lambda: api.get("/articles"),
        lambda: jo.get(f"/articles/{slug}"),
        lambda: jo.post("/articles", {"article": draft}),
    ]
    with ThreadPoolExecutor(30) as threads:
        # So that every thread of the app holds a connection, as under load.
        assert {answer.status_code for answer in threads.map(lambda n: sends[n % 3](), range(60))} == {200, 201}
        broken(proxy)
        list(threads.map(lambda n: _is_unavailable_in_time(sends[n % 3]), range(30)))
        again = list(threads.map(lambda n: _is_unavailable_in_time(sends[n % 3]), range(30)))
    assert max(again) < MOST_SECONDS
    proxy.mend()
    assert _wait_until_back(api.http) < BACK_WITHIN_SECONDS
    with ThreadPoolExecutor(30) as threads:
        assert {answer.status_code for answer in threads.map(lambda n: sends[n % 3](), range(60))} == {200, 201}


@every_break
def test_a_running_query_is_abandoned_in_time(api: Api, proxy: Proxy, broken: Break) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            stop = time.monotonic() + 0.3

            def read_until_told(_: int, stop: float = stop) -> httpx.Response:
                while True:
                    started = time.monotonic()
                    response = jo.get(f"/articles/{slug}")
                    assert time.monotonic() - started < MOST_SECONDS
                    assert response.status_code in (200, 503)
                    if response.status_code == 503 or time.monotonic() > stop + 3:
                        return response

            waiting = [threads.submit(read_until_told, n) for n in range(8)]
            time.sleep(0.2)
            broken(proxy)
            assert {future.result().status_code for future in waiting} == {503}
            proxy.mend()
            _wait_until_back(api.http)


def test_a_restart_of_the_server_fails_no_read(api: Api, proxy: Proxy) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    with ThreadPoolExecutor(10) as threads:
        for _ in range(3):
            assert {r.status_code for r in threads.map(lambda _: jo.get(f"/articles/{slug}"), range(20))} == {200}
            proxy.drop_connections()
            answers = [jo.get(f"/articles/{slug}").status_code for _ in range(3)]
            assert answers == [200] * 3


def test_a_restart_of_the_server_fails_no_write(api: Api, proxy: Proxy) -> None:
    """Before a transaction begins nothing has changed, so it is retried on another connection."""
    jo = api.sign_up()
    slug = jo.slug()
    with ThreadPoolExecutor(10) as threads:
        for _ in range(3):
            assert {r.status_code for r in threads.map(lambda _: jo.get(f"/articles/{slug}"), range(20))} == {200}
            proxy.drop_connections()
            answers = [jo.post(f"/articles/{slug}/favorite").status_code for _ in range(3)]
            assert answers == [200] * 3
    assert jo.get(f"/articles/{slug}").json()["article"]["favoritesCount"] == 1


def test_the_app_recovers_from_a_long_outage_as_soon_as_the_database_is_back(api: Api, proxy: Proxy) -> None:
    for outage in (Proxy.cut, Proxy.hold):
        outage(proxy)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            _is_unavailable_in_time(lambda: api.get("/tags"))
            time.sleep(0.2)
        proxy.mend()
        assert _wait_until_back(api.http) < BACK_WITHIN_SECONDS


@every_break
def test_a_cover_that_cannot_be_finished_is_not_shown_and_can_be_uploaded_again(
    api: Api, http: httpx.Client, proxy: Proxy, broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    make = images.covers

    def lose_the_database(image: Image) -> dict[str, bytes]:
        broken(proxy)
        return make(image)

    with monkeypatch.context() as patch:
        patch.setattr(images, "covers", lose_the_database)
        response = jo.upload(slug, upload())
    assert response.status_code == 503
    proxy.mend()
    _wait_until_back(http)
    # Its row could not be updated: it stays pending until the next upload or start, and has no URLs.
    assert api.article(slug)["cover"] == {"state": "pending", "small": None, "medium": None, "large": None}
    assert jo.upload(slug, upload()).status_code == 200
    assert api.article(slug)["cover"]["state"] == "ready"


@every_break
def test_unfinished_tasks_are_failed_at_the_next_start(
    new_database: NewDatabase, tmp_path: Path, broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(migrated(new_database)) as proxy:
        settings = settings_for(proxy.url, media_dir=tmp_path)
        make = images.covers

        def lose_the_database(image: Image) -> dict[str, bytes]:
            broken(proxy)
            return make(image)

        with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
            jo = Api(http).sign_up()
            slug = jo.slug()
            with monkeypatch.context() as patch:
                patch.setattr(images, "covers", lose_the_database)
                assert jo.upload(slug, upload()).status_code == 503
        # The database is still down: the app starts, and fails nothing yet.
        with served(settings) as base_url:
            assert httpx.get(f"{base_url}/health").status_code == 200
        proxy.mend()
        with psycopg.connect(proxy.url) as connection:
            assert connection.execute("SELECT cover_state FROM articles").fetchall() == [("pending",)]
        monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)  # as if that long had passed
        with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
            assert Api(http).article(slug)["cover"]["state"] == "failed"
        assert not list((tmp_path / "private/uploads").iterdir())
