"""A caller for whom the cache is late asks the database only where nobody is known to do so already."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from conduit import articles
from conduit.adapters import cache_entries as entries
from conduit.adapters import cache_keys as keys
from conduit.adapters import cache_redis, read_through
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.redis_server import LateError
from conduit.fragments import author_fragment, body_fragment
from conduit.ports import Media
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.story import Slow, Story
from conduit_testing.waiting import until


def test_a_late_first_answer_is_asked_for_again_and_its_lease_is_kept(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has given the lease by then. Without the same token nobody would hold it until it expires."""
    get, late = cache.get_article, iter([True, False])

    def late_once(article_id: int, token: bytes) -> Any:
        found = get(article_id, token)
        if next(late, False):
            raise LateError("Redis")
        return found

    monkeypatch.setattr(cache, "get_article", late_once)
    started = time.monotonic()
    assert reads.article(story.article_id, None) is not None
    assert time.monotonic() - started < read_through.LEASE_WAIT_SECONDS
    assert inside.exists(f"shown:{story.article_id}")
    assert not inside.exists(f"lease:shown:{story.article_id}")


def test_two_late_answers_are_enough(
    story: Story, reads: CachedReads, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def late(article_id: int, _token: bytes) -> Any:
        tried.append(article_id)
        raise LateError("Redis")

    monkeypatch.setattr(cache, "get_article", late)
    assert reads.article(story.article_id, None) is not None
    assert len(tried) == 2


def test_a_lease_that_came_with_a_late_answer_is_given_back(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would read the key until the lease expires, and everybody wait for it."""
    get, lease = cache.get_article, f"lease:shown:{story.article_id}"

    def late(article_id: int, token: bytes) -> Any:
        get(article_id, token)
        assert inside.exists(lease)
        raise LateError("Redis")

    monkeypatch.setattr(cache, "get_article", late)
    started = time.monotonic()
    assert reads.article(story.article_id, None) is not None
    until(lambda: not inside.exists(lease), "the lease was kept")
    assert time.monotonic() - started < cache_redis.LEASE_SECONDS / 2


def test_a_redis_that_falls_silent_while_a_caller_waits_for_a_lease_is_given_up_after_two_answers(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, calls = cache.get_article, iter(range(100))

    def silent(article_id: int, token: bytes) -> Any:
        if next(calls) < 2:
            return get(article_id, token)
        raise LateError("Redis")

    monkeypatch.setattr(cache, "get_article", silent)
    inside.set(f"lease:shown:{story.article_id}", "somebody's", px=5000)
    assert reads.article(story.article_id, None) is not None
    assert next(calls) == 4


def test_one_late_answer_does_not_end_the_wait_for_a_lease(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, late = cache.get_article, iter([False, True, False])

    def sometimes_late(article_id: int, token: bytes) -> Any:
        if next(late, False):
            raise LateError("Redis")
        return get(article_id, token)

    monkeypatch.setattr(cache, "get_article", sometimes_late)
    inside.set(f"lease:shown:{story.article_id}", "somebody's", px=30)
    assert reads.article(story.article_id, None) is not None
    # A read without the cache would have set nothing.
    assert inside.exists(f"shown:{story.article_id}")


@pytest.mark.parametrize(("others_are_answered", "queries"), [(True, 0), (False, 1)])
def test_who_is_late_twice_gets_again_only_while_others_have_their_answers(
    story: Story,
    reads: CachedReads,
    cache: RedisCache,
    behind: Slow,
    *,
    others_are_answered: bool,
    queries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads.article(story.article_id, None)
    behind.asked.clear()
    get, late = cache.get_article, iter([True] * 4)

    def late_at_first(article_id: int, token: bytes) -> Any:
        if next(late, False):
            if others_are_answered:
                cache.get_tags(cache.new_token())
            raise LateError("Redis")
        return get(article_id, token)

    monkeypatch.setattr(cache, "get_article", late_at_first)
    assert reads.article(story.article_id, None) is not None
    assert behind.asked.count("article") == queries


def test_without_the_cache_callers_share_a_read_that_began_after_they_came(
    story: Story,
    behind: Slow,
    cache: RedisCache,
    *,
    database: PostgresDatabase,
    media: Media,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They can't take over what the first has read, before they came. One of them reads for all of them."""
    reads = CachedReads(behind, cache, media)
    late: Counter[int] = Counter()  # by thread; one may try once more where another's call was answered meanwhile
    first_has_read, all_have_come, all_wait = threading.Event(), threading.Event(), threading.Event()

    def answer_nobody(_article_id: int, _token: bytes) -> Any:
        late[threading.get_ident()] += 1
        raise LateError("Redis")

    def hold() -> None:
        behind.meanwhile = lambda: all_wait.wait(10)
        first_has_read.set()
        all_have_come.wait(10)

    monkeypatch.setattr(cache, "get_article", answer_nobody)
    behind.meanwhile = hold
    with ThreadPoolExecutor(5) as threads:
        read = DecodedReads(reads).article
        first = threads.submit(read, story.article_id, None)
        assert first_has_read.wait(10)
        articles.mark(database, media, story.fan, story.slug, favorited=False)
        others = [threads.submit(read, story.article_id, None) for _ in range(4)]
        until(lambda: [times >= 2 for times in late.values()] == [True] * 5, "they did not come")
        all_have_come.set()
        until(lambda: sum(times >= 3 for times in late.values()) == 4, "they did not get again")
        time.sleep(0.05)  # from the get to the wait
        all_wait.set()
        shown = [found.result() for found in (first, *others)]
    assert [article.favorites_count for article in shown if article] == [1, 0, 0, 0, 0]
    assert behind.asked.count("article") == 2


def test_who_is_late_waits_for_a_read_of_its_process(
    story: Story, reads: CachedReads, cache: RedisCache, behind: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, go = threading.Event(), threading.Event()

    def hold() -> None:
        asking.set()
        assert go.wait(10)

    get, late = cache.get_article, threading.Event()
    calls = iter(range(100))

    def late_at_first(article_id: int, token: bytes) -> Any:
        if (call := next(calls)) in (1, 2):
            if call == 2:
                late.set()
            raise LateError("Redis")
        return get(article_id, token)

    monkeypatch.setattr(cache, "get_article", late_at_first)
    behind.meanwhile = hold
    with ThreadPoolExecutor(2) as threads:
        holder = threads.submit(reads.article, story.article_id, None)
        assert asking.wait(10)
        other = threads.submit(reads.article, story.article_id, None)
        assert late.wait(10)
        go.set()
        assert other.result() == holder.result() is not None
    assert behind.asked.count("article") == 1


def test_who_is_late_waits_while_others_of_its_process_wait_for_another_box(
    story: Story, reads: CachedReads, cache: RedisCache, behind: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know that somebody reads the key already; it is only late for this caller."""
    get, late = cache.get_article, threading.local()

    def late_for_one(article_id: int, token: bytes) -> Any:
        late.times = getattr(late, "times", 2) - 1
        if threading.current_thread().name == "late" and late.times >= 0:
            raise LateError("Redis")
        return get(article_id, token)

    monkeypatch.setattr(cache, "get_article", late_for_one)
    elsewhere = get(story.article_id, cache.new_token()).miss
    assert elsewhere is not None
    assert elsewhere.holds_lease
    found = []
    waiting = [
        threading.Thread(target=lambda: found.append(reads.article(story.article_id, None)), name=name)
        for name in ("told", "late")
    ]
    waiting[0].start()
    key = keys.summary_key(story.article_id)
    until(lambda: reads._through._told.about(key), "nobody was told")
    waiting[1].start()
    time.sleep(0.05)
    assert behind.asked == []
    row = behind.shared_article(story.article_id)
    assert row is not None
    parts = reads._shown(row), body_fragment(row.body), author_fragment(row)
    cache.set(elsewhere, entries.article_entries(row.id, *parts))
    for thread in waiting:
        thread.join(10)
    assert [article is not None for article in found] == [True, True]
    assert behind.asked == ["article"]
    assert not reads._through._told.about(key)
    assert not reads._through._flights
