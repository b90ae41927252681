"""Pins in Redis: the last position of each user and server, kept for as long as a replica may lack it."""

from collections.abc import Iterator

import pytest
from redis import Redis

from conduit.adapters import positions
from conduit.adapters.pins_redis import RedisPins
from conduit.errors import UnavailableError
from conduit_testing.deployments import NewRedis
from conduit_testing.proxy import Proxy, proxied
from conduit_testing.waiting import until

EARLY, LATE = "00000001000000000000ffff", "000000010000000000010000"
NEXT_TIMELINE = "000000020000000000000001"


@pytest.fixture
def proxy(new_redis: NewRedis) -> Iterator[Proxy]:
    with proxied(new_redis()) as proxy:
        yield proxy


@pytest.fixture
def inside(proxy: Proxy) -> Iterator[Redis]:
    with Redis.from_url(proxy.url) as inside:
        yield inside


@pytest.fixture
def pins(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisPins]:
    """In a Redis that has been running for long enough."""
    monkeypatch.setattr(positions, "KNOWN_SECONDS", 1)
    pins = RedisPins(proxy.url)
    pins.open()
    until(lambda: pins.of(0) is not None, "it has just started", within=5.0)
    monkeypatch.setattr(positions, "KNOWN_SECONDS", 2)
    until(lambda: pins.of(0) is not None, "it has just started", within=5.0)
    yield pins
    pins.close()


@pytest.mark.parametrize(
    ("order", "kept"),
    [
        ((EARLY, LATE), LATE),
        ((LATE, EARLY), LATE),
        ((LATE, NEXT_TIMELINE), NEXT_TIMELINE),
        ((NEXT_TIMELINE, LATE), NEXT_TIMELINE),
    ],
)
def test_the_latest_position_of_each_user_and_server_is_kept(
    pins: RedisPins, order: tuple[str, str], kept: str
) -> None:
    for position in order:
        pins.raise_to(1, "one", position)
    pins.raise_to(1, "two", EARLY)
    pins.raise_to(2, "one", EARLY)
    assert pins.of(1) == {"one": kept, "two": EARLY}
    assert pins.of(2) == {"one": EARLY}
    assert pins.of(3) == {}


def test_a_pin_is_kept_for_as_long_as_a_replica_may_lack_it(
    pins: RedisPins, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins.raise_to(1, "one", EARLY)
    assert 0 < inside.ttl("pins:1") <= 2
    monkeypatch.setattr(positions, "KNOWN_SECONDS", 60)
    pins.raise_to(1, "two", EARLY)
    assert 50 < inside.ttl("pins:1") <= 60


def test_a_redis_that_has_just_started_may_have_lost_some(pins: RedisPins, monkeypatch: pytest.MonkeyPatch) -> None:
    pins.raise_to(1, "one", EARLY)
    monkeypatch.setattr(positions, "KNOWN_SECONDS", 10**9)
    assert pins.of(1) is None


def test_what_could_not_be_kept_is_there_before_anybody_asks_again(pins: RedisPins, proxy: Proxy) -> None:
    proxy.cut()
    for position in (EARLY, LATE):
        with pytest.raises(UnavailableError):
            pins.raise_to(1, "one", position)
    with pytest.raises(UnavailableError):
        pins.raise_to(2, "one", EARLY)
    with pytest.raises(UnavailableError):
        pins.of(1)
    proxy.mend()
    found: list[object] = []

    def is_back() -> bool:
        found.append(pins.of(1))
        return True

    until(is_back, "it does not come back", within=5.0, not_yet=(UnavailableError,))
    assert found == [{"one": LATE}]
    assert pins.of(2) == {"one": EARLY}
