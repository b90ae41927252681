"""What the cache spares the database, and that it never brings the past back."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from redis import Redis

from conduit import articles, comments, ids, profiles, users
from conduit.adapters import reads_cached
from conduit.adapters.cache_records import LARGEST_RECORD, RECORD_SECONDS, UNKNOWN_SECONDS, slot_of_tag
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.postgres_server import PostgresServer, PostgresTransaction
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.adapters.redis_server import REQUEST_SECONDS
from conduit.errors import UnavailableError
from conduit.passwords import Passwords
from conduit.ports import Media, Page, Reads, Tasks
from conduit.schemas import ArticleChanges, NewArticle, UserChanges
from conduit.timing import Tally, tally
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp

TOO_LARGE = b"\xc3"  # msgpack's true
PAGE = Page(20, 0, ids.MAX_ID + 1)
NOWHERE: dict[str, Any] = {"tag": None, "author": None, "favorited": None}


class Slow(SqlReads):
    """The reads behind the cache: counts what it is asked, and does ``meanwhile`` between reading and answering."""

    def __init__(self, database: PostgresDatabase, media: Media) -> None:
        super().__init__(database, media)
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def _after(self, what: str, answer: Any) -> Any:
        self.asked.append(what)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return answer

    def shared_article(self, *args: Any) -> Any:
        return self._after("article", super().shared_article(*args))

    def shared_articles(self, *args: Any, **kwargs: Any) -> Any:
        return self._after("list", super().shared_articles(*args, **kwargs))

    def summaries(self, *args: Any) -> Any:
        return self._after("summaries", super().summaries(*args))

    def shared_comments(self, *args: Any) -> Any:
        return self._after("comments", super().shared_comments(*args))

    def people(self, *args: Any) -> Any:
        return self._after("people", super().people(*args))

    def shared_profile(self, *args: Any) -> Any:
        return self._after("profile", super().shared_profile(*args))

    def tags(self) -> Any:
        return self._after("tags", super().tags())


@pytest.fixture
def behind(database: PostgresDatabase, media: Media) -> Slow:
    return Slow(database, media)


@pytest.fixture
def reads(behind: Slow, cache: RedisCache, media: Media) -> CachedReads:
    return CachedReads(behind, cache, media)


@pytest.fixture
def inside(cache: RedisCache) -> Iterator[Redis]:
    """The database of Redis that the cache is in."""
    server = cache._server
    with Redis(host=server._host, port=server._port, db=server._database) as inside:
        yield inside


class Story:
    """An author with an article that has a tag, a comment and a fan."""

    def __init__(self, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp) -> None:
        self.name, self.fan_name, self.tag = fresh(), fresh(), fresh("tag")
        self.author, self.fan = sign_up(self.name), sign_up(self.fan_name)
        for title, tags in (("zero", []), ("one", [self.tag])):
            self.slug = articles.publish(database, tasks, self.author, NewArticle(title, "d", "b", tags)).slug
        self.article_id = articles.id_of(self.slug)
        comments.add(database, self.fan, self.slug, "first")
        articles.mark(database, media, self.fan, self.slug, favorited=True)
        profiles.follow(database, self.fan, self.name, following=True)

    def looks(self, reads: Reads, viewer: int | None = None) -> dict[str, Callable[[], Any]]:
        return {
            "article": lambda: reads.article(self.article_id, viewer),
            "home": lambda: reads.articles(PAGE, viewer, **NOWHERE),
            "by tag": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"tag": self.tag}),
            "by author": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"author": self.name}),
            "favourites": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"favorited": self.fan_name}),
            "comments": lambda: reads.comments(self.article_id, viewer, PAGE),
            "profile": lambda: reads.profile(self.name, viewer),
            "tags": reads.tags,
            "no article": lambda: reads.article(self.author, viewer),
            "no comments": lambda: reads.comments(self.author, viewer, PAGE),
            "nobody": lambda: reads.profile(self.tag, viewer),
            "nobody's": lambda: reads.articles(PAGE, viewer, **NOWHERE | {"author": self.tag}),
        }


@pytest.fixture
def story(database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp) -> Story:
    return Story(database, tasks, media, sign_up)


def _queries(work: Callable[[], Any]) -> dict[str, int]:
    spent = Tally()
    token = tally.set(spent)
    try:
        work()
    finally:
        tally.reset(token)
    return spent.queries


def test_what_was_read_before_is_the_same_again_and_asks_nobody(story: Story, reads: CachedReads) -> None:
    for name, look in story.looks(reads).items():
        first = look()
        assert _queries(look) == {}, name
        assert look() == first, name


def test_a_viewer_costs_one_query_a_server(story: Story, reads: CachedReads, behind: Slow) -> None:
    shared = story.looks(reads)
    for name, look in story.looks(reads, story.fan).items():
        shared[name]()
        asked = _queries(look)
        assert all(count == 1 for count in asked.values()), (name, asked)
        assert look() == story.looks(SqlReads(behind._database, behind._media), story.fan)[name](), name
    article = reads.article(story.article_id, story.fan)
    assert article is not None
    assert (article.favorited, article.author.following) == (True, True)


def test_lists_that_are_deep_or_have_filters_together_are_read_behind_the_cache(
    story: Story, reads: CachedReads, inside: Redis
) -> None:
    for page, filters in (
        (Page(20, 81, ids.MAX_ID + 1), {}),
        (Page(20, 0, story.article_id), {}),
        (PAGE, {"tag": story.tag, "author": story.name}),
    ):
        assert reads.articles(page, None, **NOWHERE | filters) is not None
    assert reads.comments(story.article_id, None, Page(20, 0, story.article_id)) == []
    assert inside.keys("[lm]:*") == []


def test_everything_but_the_marks_ends_by_itself(story: Story, reads: CachedReads, inside: Redis) -> None:
    for look in story.looks(reads).values():
        look()
    ttls = {key: inside.pttl(key) for key in inside.scan_iter()}
    assert ttls.pop(b"marks") == -1
    assert len(ttls) > 12
    assert all(0 < ttl <= RECORD_SECONDS * 1000 for ttl in ttls.values()), ttls
    assert len({ttl // 100 for ttl in ttls.values()}) > 5, "they would all end together"
    unknown = [ttl for key, ttl in ttls.items() if inside.get(key) == b"\xc2"]
    assert len(unknown) == 3
    assert max(unknown) <= 5_000


def test_parts_that_are_missing_are_filled_by_one_question(
    story: Story, reads: CachedReads, behind: Slow, inside: Redis
) -> None:
    looks = story.looks(reads)
    whole = {name: looks[name]() for name in ("by author", "comments")}
    for keys, name, question in (
        ([f"s:{story.article_id}"], "by author", "summaries"),
        ([f"p:{story.author}"], "by author", "summaries"),
        ([f"s:{story.article_id}", f"p:{story.author}"], "by author", "summaries"),
        ([f"p:{story.fan}"], "comments", "people"),
    ):
        assert inside.delete(*keys) == len(keys)
        behind.asked.clear()
        assert looks[name]() == whole[name]
        assert looks[name]() == whole[name]
        assert behind.asked == [question]


class Changes:
    """To each look a change that it shows."""

    def __init__(self, story: Story, database: PostgresDatabase, media: Media) -> None:
        def change(**changes: Any) -> Callable[[], object]:
            return lambda: articles.change(database, media, story.author, story.slug, ArticleChanges(**changes))

        def delete() -> None:
            articles.delete(database, story.author, story.slug)

        self.to: dict[str, Callable[[], object]] = {
            "article": change(title="two"),
            "home": delete,
            "by tag": change(tag_list=[]),
            "by author": delete,
            "favourites": lambda: articles.mark(database, media, story.fan, story.slug, favorited=False),
            "comments": lambda: comments.add(database, story.fan, story.slug, "second"),
            "profile": lambda: users.change(database, Passwords(1), story.author, "token", UserChanges(bio="new")),
            "tags": change(tag_list=[]),
        }


@pytest.fixture
def changes(story: Story, database: PostgresDatabase, media: Media) -> Changes:
    return Changes(story, database, media)


@pytest.fixture
def truth(database: PostgresDatabase, media: Media) -> SqlReads:
    return SqlReads(database, media)


_NAMES = ("article", "home", "by tag", "by author", "favourites", "comments", "profile", "tags")


@pytest.mark.parametrize("name", _NAMES)
def test_what_was_read_before_a_change_is_not_kept_after_it(
    name: str, story: Story, changes: Changes, reads: CachedReads, truth: SqlReads
) -> None:
    look, behind = story.looks(reads)[name], reads._reads
    assert isinstance(behind, Slow)
    behind.meanwhile = changes.to[name]  # between the reading and the keeping
    before = look()
    now = story.looks(truth)[name]()
    assert before != now
    assert [look(), look()] == [now, now]


@pytest.mark.parametrize("name", _NAMES)
def test_what_was_read_before_redis_lost_its_marks_is_not_kept(
    name: str, story: Story, changes: Changes, reads: CachedReads, inside: Redis
) -> None:
    look, behind = story.looks(reads)[name], reads._reads
    assert isinstance(behind, Slow)

    def change_and_start_anew() -> None:
        changes.to[name]()
        inside.flushdb()

    behind.meanwhile = change_and_start_anew
    before = look()
    assert look() != before


def test_a_new_user_is_not_missed_by_whoever_asked_before(reads: CachedReads, sign_up: SignUp) -> None:
    name = fresh()
    for _ in range(2):
        assert reads.profile(name, None) is None
        assert reads.articles(PAGE, None, **NOWHERE | {"favorited": name}) == ([], 0)
    sign_up(name)
    assert reads.profile(name, None) is not None


# At the expiry of what everybody reads ----------------------------------------------------------------------


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


def test_without_single_flight_all_of_them_ask(
    story: Story, behind: Slow, cache: RedisCache, media: Media
) -> None:
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


def test_whoever_waits_is_woken_when_the_one_who_asks_fails(
    story: Story, reads: CachedReads, behind: Slow
) -> None:
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


def test_a_commit_that_nobody_answered_is_told_as_one(
    story: Story, reads: CachedReads, database: PostgresDatabase, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = PostgresServer.transaction

    @contextmanager
    def unanswered(self: PostgresServer) -> Iterator[PostgresTransaction]:
        with transaction(self) as writer:
            yield writer
        raise UnavailableError("the database")

    before = reads.article(story.article_id, None)
    monkeypatch.setattr(PostgresServer, "transaction", unanswered)
    with pytest.raises(UnavailableError):
        articles.change(database, media, story.author, story.slug, ArticleChanges(title="another"))
    monkeypatch.undo()
    after = reads.article(story.article_id, None)
    assert before is not None
    assert after is not None
    assert (before.title, after.title) == ("one", "another")


def test_who_has_waited_for_redis_already_may_look_once_more(
    story: Story, reads: CachedReads, behind: Slow
) -> None:
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


def test_a_list_by_tag_is_old_once_an_article_got_or_lost_that_tag_and_for_no_other_reason(
    *, story: Story, reads: CachedReads, behind: Slow, database: PostgresDatabase, tasks: Tasks, media: Media
) -> None:
    def listed() -> int:
        behind.asked.clear()
        return reads.articles(PAGE, None, **NOWHERE | {"tag": story.tag})[1]

    def publish(*tags: str) -> str:
        draft = NewArticle("T", "d", "b", list(tags))
        return articles.publish(database, tasks, story.author, draft).slug

    other = next(tag for tag in map(str, range(9)) if slot_of_tag(tag) != slot_of_tag(story.tag))
    assert listed() == 1
    slug = publish(other)
    articles.change(database, media, story.author, story.slug, ArticleChanges(description="another"))
    assert (listed(), behind.asked) == (1, ["summaries"])
    assert (listed(), behind.asked) == (1, [])

    articles.change(database, media, story.author, slug, ArticleChanges(tag_list=[other, story.tag]))
    assert (listed(), behind.asked) == (2, ["list"])
    articles.change(database, media, story.author, slug, ArticleChanges(tag_list=[other]))
    assert (listed(), behind.asked) == (1, ["list"])
    publish(story.tag)
    assert (listed(), behind.asked) == (2, ["list"])
    articles.delete(database, story.author, story.slug)
    assert (listed(), behind.asked) == (1, ["list"])


def test_comments_too_large_to_be_kept_are_read_each_time_and_nobody_waits_for_another(
    story: Story, reads: CachedReads, database: PostgresDatabase, inside: Redis
) -> None:
    for _ in range(2):
        comments.add(database, story.fan, story.slug, "long" * (LARGEST_RECORD // 6))
    for _ in range(2):
        assert len(reads.comments(story.article_id, None, PAGE) or ()) == 3
        assert inside.get(f"m:{story.article_id}") == TOO_LARGE
        assert not inside.exists(f"lease:m:{story.article_id}")
    assert 0 < inside.ttl(f"m:{story.article_id}") <= UNKNOWN_SECONDS
    # Somebody who asks at this moment holds nobody up: the second look led, and so would every other.
    inside.set(f"lease:m:{story.article_id}", "somebody's")
    started = time.monotonic()
    assert len(reads.comments(story.article_id, None, Page(2, 0, ids.MAX_ID + 1)) or ()) == 2
    assert time.monotonic() - started < reads_cached.PATIENCE_SECONDS
    comments.add(database, story.fan, story.slug, "one more")
    assert len(reads.comments(story.article_id, None, PAGE) or ()) == 4


def test_an_article_too_large_to_be_kept_is_read_each_time(
    story: Story, reads: CachedReads, database: PostgresDatabase, media: Media, inside: Redis
) -> None:
    body = "long" * (LARGEST_RECORD // 3)
    articles.change(database, media, story.author, story.slug, ArticleChanges(body=body))
    for _ in range(2):
        found = reads.article(story.article_id, None)
        assert found is not None
        assert found.body == body
        assert inside.get(f"b:{story.article_id}") == TOO_LARGE


def test_a_record_of_another_shape_is_as_good_as_none(story: Story, reads: CachedReads, inside: Redis) -> None:
    whole = reads.article(story.article_id, None)
    inside.set(f"s:{story.article_id}", msgspec.msgpack.encode([story.author, "what an older app kept"]))
    assert reads.article(story.article_id, None) == whole
