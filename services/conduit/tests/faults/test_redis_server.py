"""A Redis server as requests use it: how long they wait, when the circuit opens, and the connections kept for them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from conduit.adapters.cache_redis import LAST_SECONDS
from conduit.adapters.redis_pool import FILL_PAUSE_SECONDS
from conduit.adapters.redis_server import LATE_ANSWERS, REQUEST_SECONDS, LateError, RedisServer
from conduit.errors import UnavailableError
from conduit.timing import Tally, tally
from conduit_testing.deployments import NewRedis
from conduit_testing.proxy import proxied
from conduit_testing.waiting import until

# A late answer costs its connection, so what is told of a burst is told of one without any.
BURSTS = 10
# The rest is this machine's, which does other work as well.
REQUEST_MS = (REQUEST_SECONDS + LAST_SECONDS) * 1000 * 1.5


def _pinged(server: RedisServer) -> bool:
    """False where this machine stands still for too long."""
    with contextlib.suppress(LateError):
        return bool(server.call(server.client.ping))
    return False


def _in_time(server: RedisServer, ask: Callable[[], Any]) -> Any:
    """What it answers. Asked again where this machine stood still for longer than a request may wait."""
    for _ in range(LATE_ANSWERS - 1):
        with contextlib.suppress(LateError):
            return server.call(ask)
    return server.call(ask)


@contextlib.contextmanager
def _opened(url: str, connections: int = 1) -> Iterator[RedisServer]:
    server = RedisServer(url, connections=connections)
    server.open()
    try:
        yield server
    finally:
        server.close()


def test_the_circuit_opens_after_three_timeouts_in_a_row(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy, _opened(proxy.url) as server:
        for late in range(1, LATE_ANSWERS + 1):
            assert server.is_available
            proxy.hold()
            with pytest.raises(UnavailableError):
                server.call(server.client.ping)
            assert server.is_available is (late < LATE_ANSWERS)


def test_a_required_call_without_an_answer_opens_the_circuit_at_once(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy, _opened(proxy.url) as server:
        proxy.hold()
        with pytest.raises(UnavailableError):
            server.call(server.client.ping, required=True)
        assert not server.is_available


def test_a_late_answer_is_no_closed_connection(new_redis: NewRedis) -> None:
    """Of those the call would be sent again, and all that are idle replaced."""
    with proxied(new_redis()) as proxy, _opened(proxy.url, connections=3) as server:
        script = server.client.register_script("return ARGV[1]")
        assert _in_time(server, lambda: server.run(script, b"x")) == b"x"
        until(lambda: _pinged(server) and len(server._pool._idle) == 3, "the pool was not filled")
        idle = server._pool._idle[:-1]
        proxy.hold()
        with pytest.raises(LateError):
            server.call(lambda: server.run(script, b"x"))
        assert server._pool._idle == idle
        assert all(connection.is_connected for connection in idle)


def test_a_call_that_cannot_be_sent_is_late(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy, _opened(proxy.url) as server:
        proxy.hold()
        with pytest.raises(LateError):
            server.call(lambda: server.client.set("large", bytes(64 << 20)))


def test_a_script_that_redis_has_lost_is_loaded_again(new_redis: NewRedis) -> None:
    with _opened(new_redis()) as server:
        script = server.client.register_script("return ARGV[1]")
        for _ in range(2):
            server.client.script_flush()
            assert _in_time(server, lambda: server.run(script, b"x")) == b"x"
        _in_time(server, lambda: server.run(script, b"x"))
        assert server.client.script_exists(script.sha) == [True]


def test_no_request_has_to_connect(new_redis: NewRedis) -> None:
    """In a burst that takes longer than a request may wait, and each would ask the database."""
    url = new_redis()
    server = RedisServer(url, connections=7)
    server.open()
    watching = Redis.from_url(url)

    def opened() -> set[str]:
        clients = [(client["id"], client["name"], client["db"]) for client in watching.client_list()]
        return {ident for ident, *of in clients if of == ["conduit", url.rpartition("/")[2]]}

    def ping(_: int) -> bool:
        start.wait()
        with contextlib.suppress(UnavailableError):  # late, or three others were
            return bool(server.call(lambda: [server.client.ping() for _ in range(20)]))
        return False

    start = threading.Barrier(7)
    with ThreadPoolExecutor(7) as threads:
        for _ in range(BURSTS):
            until(lambda: server.is_available and _pinged(server) and len(opened()) == 7, "the pool was not filled")
            before = opened()
            if all(threads.map(ping, range(7))):
                break
        else:
            pytest.fail(f"of {BURSTS} bursts none was answered in time")
    assert opened() == before
    server.close()
    until(lambda: not opened(), "a connection stayed")
    watching.close()


def test_connections_that_were_closed_or_late_are_replaced_in_the_background(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy, _opened(proxy.url, connections=7) as server:
        pool = server._pool

        def filled() -> bool:
            return len(pool._idle) == 7 and all(connection.is_connected for connection in pool._idle)

        before = pool._idle[:]
        proxy.drop_connections()
        assert _in_time(server, server.client.ping)
        until(filled, "the connections were not replaced")
        assert not any(connection in before for connection in pool._idle)
        proxy.hold()
        with pytest.raises(UnavailableError):
            server.call(server.client.ping)
        assert len(pool._idle) == 6
        proxy.mend()
        assert _in_time(server, server.client.ping)
        until(filled, "the connections were not replaced")


def test_after_late_answers_the_other_connections_are_kept(new_redis: NewRedis) -> None:
    """To make them all again takes a busy box a second or more, in which everybody asks the database."""
    with proxied(new_redis()) as proxy, _opened(proxy.url, connections=7) as server:
        before = server._pool._idle[:]
        for _ in range(LATE_ANSWERS):
            proxy.hold()
            with pytest.raises(LateError):
                server.call(server.client.ping)
        assert not server.is_available
        proxy.mend()
        until(lambda: server.is_available, "the circuit stayed open")
        assert [connection for connection in server._pool._idle if connection in before] == before[:-LATE_ANSWERS]


def test_the_circuit_closes_while_invalidations_fail_faster_than_it_connects(
    new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under load: each write that can't tell the cache opens the circuit again."""
    server = RedisServer(new_redis(), connections=3)
    connect = server._pool._connect

    def connect_slowly() -> None:
        server.open_circuit("an invalidation was not delivered")
        connect()

    monkeypatch.setattr(server._pool, "_connect", connect_slowly)
    server.open()
    until(lambda: server.is_available, "the circuit stayed open")
    server.close()


def test_a_pool_that_could_not_be_filled_is_filled_later(new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch) -> None:
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
    attempts: list[object] = []

    def no_more_threads(thread: threading.Thread) -> None:
        attempts.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more_threads)
    server._pool._fill_at = 0.0
    for _ in range(3):
        assert server.call(server.client.ping), "no reason to lose an answer"
    assert len(attempts) == 1, "nor to try at every call"
    monkeypatch.undo()
    until(lambda: _pinged(server) and len(server._pool._idle) == 7, "the pool was not filled")
    server.close()


def test_a_pool_that_cannot_be_filled_is_tried_again_but_not_by_every_call(
    new_redis: NewRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis at its maxclients, for one, refuses more connections while it serves those that it has."""
    server = RedisServer(new_redis(), connections=7)
    connect, left = server._pool._connect, iter(range(3))
    refused: list[float] = []

    def three_times() -> None:
        if next(left, None) is None:
            refused.append(time.monotonic())
            raise RedisConnectionError("max number of clients reached")
        connect()

    monkeypatch.setattr(server._pool, "_connect", three_times)
    server.open()
    calls = 0
    while len(refused) < 4:
        calls += _pinged(server)
    pauses = [later - earlier for earlier, later in pairwise(refused)]
    assert min(pauses) >= FILL_PAUSE_SECONDS
    assert calls > 100, "or the pauses were not this pool's"
    server.close()


def test_an_error_for_one_command_leaves_the_circuit_closed(new_redis: NewRedis) -> None:
    with _opened(new_redis()) as server:
        for _ in range(LATE_ANSWERS):
            with pytest.raises(UnavailableError):
                server.call(lambda: server.client.eval("return redis.error_reply('NO')", 0))
        assert server.is_available


def test_a_request_whose_budget_is_used_up_does_not_call_redis(new_redis: NewRedis) -> None:
    with _opened(new_redis()) as server:
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


def test_all_redis_calls_of_a_request_share_one_budget(new_redis: NewRedis) -> None:
    with proxied(new_redis()) as proxy, _opened(proxy.url) as server:
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
        assert time.monotonic() - started < REQUEST_MS / 1000
