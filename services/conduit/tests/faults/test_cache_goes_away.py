"""A cache that is gone, hangs or is slow: everything goes on from the database, and nothing old comes back after it."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from limits import parse

from conduit.adapters import cache_pending
from conduit.adapters.cache_redis import GET_SECONDS, LAST_SECONDS, RedisCache
from conduit.adapters.limits_redis import RedisLimits
from conduit.adapters.redis_pool import CALL_SECONDS
from conduit.adapters.redis_server import REQUEST_SECONDS
from conduit.errors import TooManyError, UnavailableError
from conduit_testing.client import Api, queries
from conduit_testing.deployments import NewDatabase, NewRedis, migrated, served, settings_for
from conduit_testing.proxy import Proxy, proxied
from conduit_testing.waiting import until

Break = Callable[[Proxy], None]


def _too_slow(proxy: Proxy) -> None:
    proxy.slow(0.06)


BREAKS = {"refused": Proxy.cut, "hanging": Proxy.hold, "too slow": _too_slow}
every_break = pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
BACK_WITHIN_SECONDS = 5.0
# The rest is this machine's, which does other work as well.
CACHE_MS = max(CALL_SECONDS + GET_SECONDS, REQUEST_SECONDS + LAST_SECONDS) * 1000 * 1.5


@pytest.fixture(scope="module")
def redis_url(new_redis: NewRedis) -> str:
    return new_redis()


@pytest.fixture(scope="module")
def proxy(redis_url: str) -> Iterator[Proxy]:
    with proxied(redis_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def http(
    proxy: Proxy, new_database: NewDatabase, new_redis: NewRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    media_dir = tmp_path_factory.mktemp("media")
    limits_url = proxy.url.rpartition("/")[0] + "/" + new_redis().rpartition("/")[2]
    settings = settings_for(migrated(new_database), media_dir=media_dir, cache_url=proxy.url, limits_url=limits_url)
    with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
        yield http


@pytest.fixture
def api(http: httpx.Client, proxy: Proxy) -> Iterator[Api]:
    proxy.mend()
    yield Api(http)
    proxy.mend()


def _waited(response: httpx.Response) -> float:
    """The milliseconds that an answer says it waited for Redis."""
    match = re.search(r"cache;dur=([\d.]+)", response.headers["server-timing"])
    return float(match[1]) if match else 0.0


def _wait_until_cached(api: Api, slug: str) -> None:
    def cached() -> bool:
        return not queries(api.get(f"/articles/{slug}")) and _waited(api.get(f"/articles/{slug}")) > 0

    until(cached, "the cache was not taken back", within=BACK_WITHIN_SECONDS, pause=0.05)


@every_break
def test_without_the_cache_every_request_is_answered_and_waits_for_redis_at_most_once(
    api: Api, proxy: Proxy, broken: Break
) -> None:
    jo, ann = api.sign_up(), api.sign_up()
    slug = jo.slug()
    _wait_until_cached(api, slug)
    broken(proxy)
    sends: list[Callable[[], httpx.Response]] = [
        lambda: api.get(f"/articles/{slug}"),
        lambda: ann.get("/articles"),
        lambda: api.get(f"/articles/{slug}/comments"),
        lambda: api.get(f"/profiles/{jo.username}"),
        lambda: api.get("/tags"),
        lambda: ann.post(f"/articles/{slug}/favorite"),
        lambda: ann.post(f"/articles/{slug}/comments", {"comment": {"body": "x"}}),
    ]
    answers = [send() for _ in range(3) for send in sends]
    assert {answer.status_code for answer in answers} == {200, 201}
    # Also where both the limits and the telling of a change had to do without.
    assert max(_waited(answer) for answer in answers) < CACHE_MS
    # Given up by now, so that nobody waits.
    assert all(_waited(api.get(f"/articles/{slug}")) == 0 for _ in range(5))
    proxy.mend()
    _wait_until_cached(api, slug)


@every_break
def test_changes_during_an_outage_of_the_cache_show_when_it_is_back(api: Api, proxy: Proxy, broken: Break) -> None:
    jo = api.sign_up()
    slug = jo.slug("before")
    _wait_until_cached(api, slug)
    listed = [api.articles(author=jo.username)[0] for _ in range(2)]
    assert listed == [[slug], [slug]]
    broken(proxy)
    response = jo.put(f"/articles/{slug}", {"article": {"title": "after"}})
    assert response.status_code == 200
    another = jo.slug("another")
    assert api.article(slug)["title"] == "after"
    proxy.mend()
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while True:
        answer = api.get(f"/articles/{slug}")
        assert answer.json()["article"]["title"] == "after"
        assert api.articles(author=jo.username)[0] == [another, response.json()["article"]["slug"]]
        if _waited(answer):
            break
        assert time.monotonic() < deadline, "the cache was not taken back"
        time.sleep(0.02)


def test_too_many_changes_during_an_outage_flush_the_cache(
    api: Api, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_pending, "MAX_PENDING", 3)
    jo = api.sign_up()
    slugs = [jo.slug("before") for _ in range(5)]
    for slug in slugs:
        _wait_until_cached(api, slug)
    proxy.cut()
    for slug in slugs:
        assert jo.put(f"/articles/{slug}", {"article": {"title": "after"}}).status_code == 200
    proxy.mend()
    time.sleep(1)
    for slug in slugs:
        assert api.article(slug)["title"] == "after"
    _wait_until_cached(api, slugs[0])


def test_a_restart_of_redis_fails_no_read_and_the_cache_is_used_again(api: Api, proxy: Proxy) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    _wait_until_cached(api, slug)
    with ThreadPoolExecutor(10) as threads:
        for _ in range(3):
            list(threads.map(lambda _: api.get(f"/articles/{slug}"), range(20)))
            proxy.drop_connections()
            answers = [api.get(f"/articles/{slug}") for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert sum(map(queries, answers)) == 0


def test_thirty_concurrent_requests_are_all_answered_while_the_cache_hangs(api: Api, proxy: Proxy) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    _wait_until_cached(api, slug)
    with ThreadPoolExecutor(30) as threads:
        list(threads.map(lambda _: api.get(f"/articles/{slug}"), range(60)))
        proxy.hold()
        answers = list(threads.map(lambda _: api.get(f"/articles/{slug}"), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(_waited(answer) > 0 for answer in answers) <= 30, "ten threads, and three late answers end it"


def test_a_slow_cache_delays_a_request_by_its_budget_at_most(api: Api, proxy: Proxy) -> None:
    jo = api.sign_up()
    slug = jo.slug()
    _wait_until_cached(api, slug)
    proxy.slow(0.012)
    answers = [api.get(f"/articles/{slug}"), jo.get(f"/articles/{slug}"), api.get("/articles"), api.get("/tags")]
    assert {answer.status_code for answer in answers} == {200}
    assert queries(answers[0]) == 0
    # What is missed is kept only where there is time left for it.
    assert max(_waited(answer) for answer in answers) < CACHE_MS


def test_an_app_starts_without_its_cache_and_uses_it_once_it_is_up(
    new_database: NewDatabase, new_redis: NewRedis, tmp_path: Path
) -> None:
    with proxied(new_redis()) as proxy:
        proxy.cut()
        settings = settings_for(migrated(new_database), media_dir=tmp_path, cache_url=proxy.url, limits_url=proxy.url)
        with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
            api = Api(http)
            slug = api.sign_up().slug()
            proxy.mend()
            _wait_until_cached(api, slug)


def test_no_request_waits_for_a_dns_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS lookup of a missing container can take seconds."""

    def slow(*_: object, **__: object) -> list[object]:
        time.sleep(3)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr("conduit.adapters.redis_server.START_SECONDS", 0.05)
    cache = RedisCache("redis://nowhere.invalid:6379/0")
    started = time.monotonic()
    cache.open()
    for _ in range(50):
        cache.invalidate([b"1"], [b"shown:1"])
        with pytest.raises(UnavailableError):
            cache.get_article(1, cache.new_token())
    assert time.monotonic() - started < 1
    cache.close()


@every_break
def test_each_box_counts_limits_by_itself_while_redis_is_down(new_redis: NewRedis, broken: Break) -> None:
    with proxied(new_redis()) as proxy:
        limits = RedisLimits(proxy.url, parse("3/minute"), parse("5/minute"))
        limits.open()
        for _ in range(2):
            limits.count_write("jo")
        broken(proxy)
        for _ in range(3):
            limits.count_write("jo")
        with pytest.raises(TooManyError):
            limits.count_write("jo")
        limits.close()
