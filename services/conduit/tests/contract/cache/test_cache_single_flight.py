"""When a popular entry expires, one caller asks the database, and nobody waits long for it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from conduit.adapters import read_through
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.scatter_gather import SomeMissingError
from conduit.ports import Media
from conduit.schemas import Encoded
from conduit_testing.story import Slow, Story


def _url(inside: Redis) -> str:
    options = inside.get_connection_kwargs()
    return "redis://{host}:{port}/{db}".format(**options)


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


def test_of_concurrent_misses_in_two_boxes_one_queries_the_database(
    story: Story, behind: Slow, cache: RedisCache, media: Media, inside: Redis
) -> None:
    other = RedisCache(_url(inside))
    other.open()
    boxes = [CachedReads(behind, cache, media), CachedReads(behind, other, media)]
    assert _all_at_once(boxes, story.article_id, behind) == [100, 1]
    inside.delete(f"shown:{story.article_id}")
    assert _all_at_once(boxes, story.article_id, behind) == [100, 1]
    other.close()


@pytest.mark.parametrize(("single_flight", "leases"), [(True, [True, False, False]), (False, [True] * 3)])
def test_one_of_three_callers_that_miss_holds_a_lease_and_all_do_without_single_flight(
    story: Story, inside: Redis, *, single_flight: bool, leases: list[bool]
) -> None:
    cache = RedisCache(_url(inside), single_flight=single_flight)
    cache.open()
    misses = [cache.get_article(story.article_id, cache.new_token()).miss for _ in range(3)]
    assert [miss is not None and miss.holds_lease for miss in misses] == leases
    cache.close()


def test_a_get_that_is_sent_again_after_its_answer_was_lost_still_holds_its_lease(
    story: Story, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command is sent again where its connection ends, and the first may have run."""
    read, lost = Connection.read_response, iter([True])

    def lose_once(self: Connection, *args: Any, **options: Any) -> Any:
        answer = read(self, *args, **options)
        if next(lost, False):
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            raise RedisConnectionError("lost")
        return answer

    cache.get_article(story.article_id + 1, cache.new_token())  # loads the script
    monkeypatch.setattr(Connection, "read_response", lose_once)
    miss = cache.get_article(story.article_id, cache.new_token()).miss
    assert next(lost, None) is None
    assert miss is not None
    assert miss.holds_lease
    other = cache.get_article(story.article_id, cache.new_token()).miss
    assert other is not None
    assert not other.holds_lease


def test_nobody_waits_long_for_a_lease_whose_holder_died(
    story: Story, reads: CachedReads, cache: RedisCache
) -> None:
    miss = cache.get_article(story.article_id, cache.new_token()).miss  # as a box that dies now
    assert miss is not None
    assert miss.holds_lease
    started = time.monotonic()
    assert reads.article(story.article_id, None) is not None
    assert read_through.LEASE_WAIT_SECONDS <= time.monotonic() - started < 2 * read_through.LEASE_WAIT_SECONDS


def test_waiting_callers_are_woken_when_the_leases_holder_fails(story: Story, reads: CachedReads, behind: Slow) -> None:
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
        assert time.monotonic() - started < read_through.LEASE_WAIT_SECONDS
        with pytest.raises(ZeroDivisionError):
            failing.result()


def test_nobody_waits_for_a_read_whose_set_raised(
    story: Story, reads: CachedReads, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "set", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reads.article(story.article_id, None)
    assert not reads._through._flights


def test_after_a_read_that_lacked_a_server_nobody_tries_in_vain_for_a_moment(
    story: Story, behind: Slow, cache: RedisCache, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who waited for it, too: they are answered without the cache, at once and not one after another."""
    monkeypatch.setattr(read_through, "PARTIAL_SECONDS", 60.0)
    reads = CachedReads(behind, cache, media)
    away = threading.Event()

    def lacks_a_server() -> None:
        away.wait(5)
        raise SomeMissingError("two")

    behind.meanwhile = lacks_a_server
    with ThreadPoolExecutor(5) as threads:
        found = [threads.submit(reads.tags) for _ in range(5)]
        time.sleep(0.2)
        away.set()
        tags = [list(one.result(10)) for one in found]
    assert all(story.tag in one for one in tags)
    assert behind.asked.count("tags") == 1
    monkeypatch.setattr(read_through, "PARTIAL_SECONDS", 0.0)
    reads = CachedReads(behind, cache, media)
    assert isinstance(reads.tags(), Encoded), "it is read through the cache again"
