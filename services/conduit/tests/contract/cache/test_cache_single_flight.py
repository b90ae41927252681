"""At the expiry of what everybody reads one asks the database, and nobody waits long for the one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from conduit.adapters import reads_cached
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.reads_cached import CachedReads
from conduit.errors import UnavailableError
from conduit.ports import Media
from conduit_testing.story import Slow, Story


def _all_at_once(boxes: list[CachedReads], article_id: int, behind: Slow) -> list[int]:
    """How many came to know the article, and how often the database was asked: 100 requests over the boxes."""
    behind.asked.clear()
    behind.meanwhile = lambda: time.sleep(0.1)
    start = threading.Barrier(20)

    def read(number: int) -> bool:
        if number < 20:
            start.wait()
        return boxes[number % len(boxes)].article(article_id, None) is not None

    with ThreadPoolExecutor(20) as threads:
        found = sum(threads.map(read, range(100)))
    return [found, behind.asked.count("article")]


def test_of_all_who_miss_at_once_over_two_boxes_one_asks(
    story: Story, behind: Slow, cache: RedisCache, media: Media, inside: Redis
) -> None:
    server = cache._server
    url = f"redis://{server._host}:{server._port}/{server._database}"
    other = RedisCache(url)
    other.open()
    boxes = [CachedReads(behind, cache, media), CachedReads(behind, other, media)]
    assert _all_at_once(boxes, story.article_id, behind) == [100, 1]
    inside.delete(f"s:{story.article_id}")
    assert _all_at_once(boxes, story.article_id, behind) == [100, 1]
    other.close()


def test_without_single_flight_all_of_them_ask(story: Story, behind: Slow, cache: RedisCache, media: Media) -> None:
    server = cache._server
    every = RedisCache(f"redis://{server._host}:{server._port}/{server._database}", single_flight=False)
    every.open()
    found, asked = _all_at_once([CachedReads(behind, every, media)], story.article_id, behind)
    assert found == 100
    assert asked > 5
    every.close()


def test_nobody_waits_long_for_one_who_asks_and_does_not_come_back(
    story: Story, reads: CachedReads, cache: RedisCache
) -> None:
    _, seen = cache.article(story.article_id)  # as a box that dies now
    assert seen.marks
    started = time.monotonic()
    assert reads.article(story.article_id, None) is not None
    assert reads_cached.PATIENCE_SECONDS <= time.monotonic() - started < 2 * reads_cached.PATIENCE_SECONDS


def test_whoever_waits_is_woken_when_the_one_who_asks_fails(story: Story, reads: CachedReads, behind: Slow) -> None:
    asking = threading.Event()

    def fail() -> None:
        asking.set()
        time.sleep(0.05)
        raise ZeroDivisionError

    behind.meanwhile = fail
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(reads.article, story.article_id, None)
        asking.wait()
        started = time.monotonic()
        assert threads.submit(reads.article, story.article_id, None).result() is not None
        assert time.monotonic() - started < reads_cached.PATIENCE_SECONDS
        with pytest.raises(ZeroDivisionError):
            failing.result()


def test_one_late_look_of_who_waits_is_not_the_end_of_waiting(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks = cache.article, iter([False, True, False])

    def sometimes_late(article_id: int) -> Any:
        if next(looks, False):
            raise UnavailableError("Redis")
        return look(article_id)

    monkeypatch.setattr(cache, "article", sometimes_late)
    inside.set(f"lease:a:{story.article_id}", "somebody's", px=30)
    assert reads.article(story.article_id, None) is not None
    # Who asks without the cache keeps nothing in it.
    assert inside.exists(f"s:{story.article_id}")
