"""What the cache knows of its servers' logs, so that no replica fills it that lacks a change."""

import pytest
from redis import Redis

from conduit.adapters import positions
from conduit.adapters.cache_redis import RedisCache
from conduit.events import Committed

EARLY, LATE = "00000001000000000000ffff", "000000010000000000010000"
NEXT_TIMELINE = "000000020000000000000001"


@pytest.fixture
def known(cache: RedisCache, monkeypatch: pytest.MonkeyPatch) -> RedisCache:
    """A cache that has been told of all changes for long enough."""
    monkeypatch.setattr(positions, "KNOWN_SECONDS", 0)
    return cache


def _tell(cache: RedisCache, server: str, position: str) -> None:
    cache.invalidate([b"1"], [], committed=Committed(server, position))


def test_of_each_server_it_knows_the_last_position(known: RedisCache) -> None:
    assert known.reached() == {}
    for position in (EARLY, LATE, EARLY):
        _tell(known, "one", position)
    _tell(known, "two", EARLY)
    known.invalidate([b"1"], [])  # by a server without replicas
    assert known.reached() == {"one": LATE, "two": EARLY}


def test_a_miss_says_what_must_be_reached(known: RedisCache) -> None:
    _tell(known, "one", EARLY)
    miss = known.get_article(1, known.new_token()).miss
    assert miss is not None
    assert miss.reached == {"one": EARLY}


def test_a_cache_that_has_just_begun_may_have_forgotten(cache: RedisCache) -> None:
    _tell(cache, "one", EARLY)
    assert cache.reached() is None
    miss = cache.get_article(1, cache.new_token()).miss
    assert miss is not None
    assert miss.reached is None


def test_the_first_change_after_a_failover_empties_it(known: RedisCache, inside: Redis) -> None:
    """What it shows may have been lost with the former primary."""
    _tell(known, "one", LATE)
    _tell(known, "two", LATE)
    for position, stays in ((LATE, True), (NEXT_TIMELINE, False), (NEXT_TIMELINE, True), (LATE, True)):
        inside.set("shown:1", "anything")
        _tell(known, "one", position)
        assert bool(inside.exists("shown:1")) == stays
    assert known.reached() == {"one": NEXT_TIMELINE}
