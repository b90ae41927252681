"""A cache that is gone, hangs or is slow: everything goes on from the database, and nothing old comes back after it."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from limits import parse
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from conduit.adapters import cache_pending
from conduit.adapters.cache_redis import GET_SECONDS, LAST_SECONDS, RedisCache
from conduit.adapters.limits_redis import RedisLimits
from conduit.adapters.redis_server import CALL_SECONDS, LATE_ANSWERS, REQUEST_SECONDS, RedisServer
from conduit.errors import TooManyError, UnavailableError
from conduit.timing import Tally, tally
from conduit_testing.client import Api, queries
from conduit_testing.deployments import NewDatabase, NewRedis, migrated, served, settings_for
from conduit_testing.proxy import Proxy, proxied

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
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while queries(api.get(f"/articles/{slug}")) or not _waited(api.get(f"/articles/{slug}")):
        assert time.monotonic() < deadline, "the cache was not taken back"
        time.sleep(0.05)


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
        cache.invalidate([b"1"], [b"s:1"])
        with pytest.raises(UnavailableError):
            cache.get_article(1, cache.new_token())
    assert time.monotonic() - started < 1
    cache.close()


def test_the_circuit_opens_after_three_timeouts_in_a_row(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy:
        server = RedisServer(proxy.url)
        server.open()
        for late in range(1, LATE_ANSWERS + 1):
            assert server.is_available
            proxy.hold()
            with pytest.raises(UnavailableError):
                server.call(server.client.ping)
            assert server.is_available is (late < LATE_ANSWERS)
        server.close()


def test_a_required_call_without_an_answer_opens_the_circuit_at_once(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy:
        server = RedisServer(proxy.url)
        server.open()
        proxy.hold()
        with pytest.raises(UnavailableError):
            server.call(server.client.ping, required=True)
        assert not server.is_available
        server.close()


def test_no_request_has_to_connect(new_redis: NewRedis) -> None:
    """In a burst that takes longer than a request may wait, and each would ask the database."""
    url = new_redis()
    server = RedisServer(url, connections=7)
    server.open()
    watching = Redis.from_url(url)

    def opened() -> set[str]:
        clients = [(client["id"], client["name"], client["db"]) for client in watching.client_list()]
        return {ident for ident, *of in clients if of == ["conduit", url.rpartition("/")[2]]}

    before = opened()
    assert len(before) == 7
    start = threading.Barrier(7)

    def ping(_: int) -> bool:
        start.wait()
        return bool(server.call(lambda: [server.client.ping() for _ in range(20)]))

    with ThreadPoolExecutor(7) as threads:
        assert all(threads.map(ping, range(7)))
    assert opened() == before
    server.close()
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while opened():
        assert time.monotonic() < deadline, "a connection stayed"
        time.sleep(0.01)
    watching.close()


def test_connections_that_were_closed_or_late_are_replaced_in_the_background(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy:
        server = RedisServer(proxy.url, connections=7)
        server.open()
        pool = server._pool

        def filled() -> None:
            deadline = time.monotonic() + BACK_WITHIN_SECONDS
            while len(pool._idle) < 7 or not all(connection.is_connected for connection in pool._idle):
                assert time.monotonic() < deadline, "the connections were not replaced"
                time.sleep(0.01)

        before = pool._idle[:]
        proxy.drop_connections()
        assert server.call(server.client.ping)
        filled()
        assert not any(connection in before for connection in pool._idle)
        proxy.hold()
        with pytest.raises(UnavailableError):
            server.call(server.client.ping)
        assert len(pool._idle) == 6
        proxy.mend()
        assert server.call(server.client.ping)
        filled()
        server.close()


def test_a_pool_that_could_not_be_filled_is_filled_later(
    new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy box may be too slow for so many connections at once. It can use Redis meanwhile."""
    server = RedisServer(new_redis(), connections=7)
    connect, left = server._pool._connect, iter(range(3))

    def three_times() -> None:
        if next(left, None) is None:
            raise RedisTimeoutError("late")
        connect()

    monkeypatch.setattr(server._pool, "_connect", three_times)
    server.open()
    assert server.is_available
    assert len(server._pool._idle) == 3
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more threads")))
    assert server.call(server.client.ping), "no reason to lose an answer"
    monkeypatch.undo()
    assert server.call(server.client.ping)
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    while len(server._pool._idle) < 7:
        assert time.monotonic() < deadline, "the pool was not filled"
        time.sleep(0.01)
    server.close()


def test_an_error_for_one_command_leaves_the_circuit_closed(new_redis: NewRedis) -> None:
    server = RedisServer(new_redis())
    server.open()
    for _ in range(LATE_ANSWERS):
        with pytest.raises(UnavailableError):
            server.call(lambda: server.client.eval("return redis.error_reply('NO')", 0))
    assert server.is_available
    server.close()


def test_a_request_whose_budget_is_used_up_does_not_call_redis(new_redis: NewRedis) -> None:
    server = RedisServer(new_redis())
    server.open()
    called: list[object] = []
    spent = Tally()
    spent.redis_seconds = REQUEST_SECONDS
    token = tally.set(spent)
    try:
        with pytest.raises(UnavailableError):
            server.call(lambda: called.append(1))
        assert called == []
        server.call(lambda: called.append(2), at_least=LAST_SECONDS)
    finally:
        tally.reset(token)
    assert called == [2]
    assert server.is_available
    server.close()


def test_all_redis_calls_of_a_request_share_one_budget(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy:
        server = RedisServer(proxy.url)
        server.open()
        proxy.hold()
        token = tally.set(Tally())
        started = time.monotonic()
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    # More than one call of Redis, and all of them within the time of one.
                    server.call(lambda: [server.client.ping() for _ in range(3)])
            with pytest.raises(UnavailableError):
                server.call(server.client.ping, at_least=LAST_SECONDS)
        finally:
            tally.reset(token)
        assert time.monotonic() - started < CACHE_MS / 1000
        server.close()


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
