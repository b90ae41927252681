"""What the cache keeps and for how long, and what is too large or too deep for it."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest
from redis import Redis

from conduit import articles, comments, ids
from conduit.adapters import read_through
from conduit.adapters.cache_entries import LARGEST_VALUE, Absent
from conduit.adapters.cache_keys import ENTRY_SECONDS, NEGATIVE_SECONDS
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_results import FoundArticle
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.adapters.redis_server import REQUEST_SECONDS
from conduit.ports import Media, Page
from conduit.request_bodies import ArticleChanges
from conduit.timing import Tally, tally
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.story import NOWHERE, PAGE, Slow, Story

TOO_LARGE = Absent.TOO_LARGE.value


def _queries(work: Callable[[], Any]) -> dict[str, int]:
    spent = Tally()
    token = tally.set(spent)
    try:
        work()
    finally:
        tally.reset(token)
    return spent.queries


def test_a_second_read_is_the_same_and_queries_nothing(story: Story, reads: CachedReads) -> None:
    for name, look in story.looks(reads).items():
        first = look()
        assert _queries(look) == {}, name
        assert look() == first, name


def test_a_viewer_takes_one_query_on_each_server_and_then_none(
    story: Story, reads: CachedReads, behind: Slow, inside: Redis
) -> None:
    shared = story.looks(reads)
    for name, look in story.looks(reads, story.fan).items():
        shared[name]()
        inside.delete(f"v:{story.fan}")
        asked = _queries(look)
        assert all(count == 1 for count in asked.values()), (name, asked)
        assert _queries(look) == {}, name
        assert look() == story.looks(SqlReads(behind._database, behind._media), story.fan)[name](), name
    article = DecodedReads(reads).article(story.article_id, story.fan)
    assert article is not None
    assert (article.favorited, article.author.following) == (True, True)


def test_deep_lists_and_lists_by_several_filters_are_not_cached(
    story: Story, reads: CachedReads, inside: Redis
) -> None:
    for page, filters in (
        (Page(20, 81, ids.MAX_ID + 1), {}),
        (Page(20, 0, story.article_id), {}),
        (PAGE, {"tag": story.tag, "author": story.name}),
    ):
        assert reads.articles(page, None, **NOWHERE | filters) is not None
    assert DecodedReads(reads).comments(story.article_id, None, Page(20, 0, story.article_id)) == []
    assert inside.keys("l:*") == inside.keys("said:*") == []


def test_everything_but_the_version_counters_expires(story: Story, reads: CachedReads, inside: Redis) -> None:
    for look in story.looks(reads).values():
        look()
    ttls = {key: inside.pttl(key) for key in inside.scan_iter()}
    assert ttls.pop(b"versions") == -1
    assert len(ttls) > 12
    assert all(0 < ttl <= ENTRY_SECONDS * 1000 for ttl in ttls.values()), ttls
    assert len({ttl // 100 for ttl in ttls.values()}) > 5, "they would all expire together"
    negative = [ttl for key, ttl in ttls.items() if inside.get(key) == Absent.NOT_FOUND.value]
    assert len(negative) == 3
    assert max(negative) <= 5_000


def test_it_is_noted_since_when_a_cache_fills(story: Story, reads: CachedReads, inside: Redis) -> None:
    def began() -> int:
        reads.article(story.article_id, None)
        return int(inside.hget("versions", "began") or 0)

    inside.flushdb()
    now, _ = inside.time()
    assert now <= began() <= now + 5
    inside.hset("versions", "began", 1)
    assert began() == 1, "as long as it is not empty"
    inside.flushdb()
    assert began() >= now


def test_missing_parts_are_filled_by_one_query(story: Story, reads: CachedReads, behind: Slow, inside: Redis) -> None:
    looks = story.looks(reads)
    whole = {name: looks[name]() for name in ("by author", "comments")}
    for keys, name, question in (
        ([f"shown:{story.article_id}"], "by author", "summaries"),
        ([f"by:{story.author}"], "by author", "summaries"),
        ([f"shown:{story.article_id}", f"by:{story.author}"], "by author", "summaries"),
        ([f"by:{story.fan}"], "comments", "people"),
    ):
        assert inside.delete(*keys) == len(keys)
        behind.asked.clear()
        assert looks[name]() == whole[name]
        assert looks[name]() == whole[name]
        assert behind.asked == [question]


def test_a_request_that_has_waited_for_redis_may_get_once_more(story: Story, reads: CachedReads, behind: Slow) -> None:
    reads.article(story.article_id, None)
    behind.asked.clear()
    spent = Tally()
    spent.redis_seconds = REQUEST_SECONDS
    token = tally.set(spent)
    try:
        assert reads.article(story.article_id, None) is not None
    finally:
        tally.reset(token)
    assert behind.asked == []


def test_comments_too_large_for_the_cache_are_read_each_time_without_a_lease(
    story: Story, reads: CachedReads, database: PostgresDatabase, inside: Redis
) -> None:
    for _ in range(2):
        comments.add(database, story.fan, story.slug, "long" * (LARGEST_VALUE // 6))
    for _ in range(2):
        assert len(DecodedReads(reads).comments(story.article_id, None, PAGE) or ()) == 3
        assert inside.get(f"said:{story.article_id}") == TOO_LARGE
        assert not inside.exists(f"lease:said:{story.article_id}")
    assert 0 < inside.ttl(f"said:{story.article_id}") <= NEGATIVE_SECONDS
    # A caller that reads at this moment keeps nobody waiting: there is no miss, and so no lease.
    inside.set(f"lease:said:{story.article_id}", "somebody's")
    started = time.monotonic()
    assert len(DecodedReads(reads).comments(story.article_id, None, Page(2, 0, ids.MAX_ID + 1)) or ()) == 2
    assert time.monotonic() - started < read_through.LEASE_WAIT_SECONDS
    comments.add(database, story.fan, story.slug, "one more")
    assert len(DecodedReads(reads).comments(story.article_id, None, PAGE) or ()) == 4


def test_an_article_too_large_for_the_cache_is_read_each_time(
    story: Story, reads: CachedReads, database: PostgresDatabase, media: Media, inside: Redis
) -> None:
    body = "long" * (LARGEST_VALUE // 3)
    articles.change(database, media, story.author, story.slug, ArticleChanges(body=body))
    for _ in range(2):
        found = DecodedReads(reads).article(story.article_id, None)
        assert found is not None
        assert found.body == body
        assert inside.get(f"body:{story.article_id}") == TOO_LARGE


def test_a_value_of_another_format_is_a_miss_at_the_first_get(
    story: Story, reads: CachedReads, cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reads.article(story.article_id, None)
    inside.set(f"shown:{story.article_id}", msgspec.msgpack.encode([story.author, "set by an older app"]))
    get, gets = cache.get_article, count()

    def counted(article_id: int, token: bytes) -> FoundArticle:
        next(gets)
        return get(article_id, token)

    monkeypatch.setattr(cache, "get_article", counted)
    assert reads.article(story.article_id, None) == whole
    assert next(gets) == 1, "which was answered in time; another would find the same"
