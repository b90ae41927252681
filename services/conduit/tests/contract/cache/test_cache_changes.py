"""Changes in cached values: what is read stays right, whoever tells of them late, twice or in disorder."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from redis import Redis

from conduit import articles, comments, ids, profiles, users
from conduit.adapters import cache_keys as keys
from conduit.adapters.cache_entries import LARGEST_VALUE, Absent
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.events import Event
from conduit.passwords import Passwords
from conduit.ports import Listener, Media, Page, Tasks
from conduit.request_bodies import ArticleChanges, NewArticle, UserChanges
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp
from conduit_testing.story import Slow, Story

Told = list[Listener]


def _fill(story: Story, reads: CachedReads, behind: Slow) -> None:
    for look in story.looks(reads).values():
        look()
    behind.asked.clear()


def _same(story: Story, reads: CachedReads, truth: SqlReads) -> None:
    for (name, look), true in zip(story.looks(reads).items(), story.looks(truth).values(), strict=True):
        assert look() == true(), name


@pytest.fixture
def truth(database: PostgresDatabase, media: Media) -> SqlReads:
    return SqlReads(database, media)


def test_a_new_article_stands_in_every_list_and_only_it_is_read(
    *, story: Story, reads: CachedReads, behind: Slow, truth: SqlReads, database: PostgresDatabase, tasks: Tasks
) -> None:
    _fill(story, reads, behind)
    articles.publish(
        database, tasks, story.author, NewArticle(title="T", description="d", body="b", tagList=[story.tag])
    )
    _same(story, reads, truth)
    assert behind.asked == ["summaries"]
    articles.publish(
        database, tasks, story.author, NewArticle(title="T", description="d", body="b", tagList=[fresh("tag")])
    )
    _same(story, reads, truth)
    assert behind.asked == ["summaries", "summaries", "tags"]


def test_a_deleted_article_leaves_every_list_and_nothing_is_read(
    *, story: Story, reads: CachedReads, behind: Slow, truth: SqlReads, database: PostgresDatabase, tasks: Tasks
) -> None:
    _fill(story, reads, behind)
    articles.delete(database, tasks, story.author, story.slug)
    _same(story, reads, truth)
    # Another article may move up to the home page.
    asked = sorted(what for what in behind.asked if what != "summaries")
    assert asked == ["article", "comments", "list", "tags"], "the fan's list, and what is gone"


def test_favourites_and_comments_show_and_nothing_is_read(
    *, story: Story, reads: CachedReads, behind: Slow, truth: SqlReads, database: PostgresDatabase, media: Media
) -> None:
    _fill(story, reads, behind)
    articles.mark(database, media, story.author, story.slug, favorited=True)
    _same(story, reads, truth)
    for favorited in (False, True):
        articles.mark(database, media, story.fan, story.slug, favorited=favorited)
        _same(story, reads, truth)
    comments.add(database, story.author, story.slug, 'a "comment" with ünicode \u2028 and \n')
    _same(story, reads, truth)
    comment = comments.add(database, story.fan, story.slug, "another")
    _same(story, reads, truth)
    assert behind.asked == []
    comments.delete(database, story.fan, story.slug, comment.id)
    _same(story, reads, truth)
    assert behind.asked == ["comments", "people"]


def test_a_change_outdates_only_what_shows_it(
    *,
    story: Story,
    reads: CachedReads,
    behind: Slow,
    truth: SqlReads,
    database: PostgresDatabase,
    tasks: Tasks,
    media: Media,
) -> None:
    untagged = articles.publish(database, tasks, story.author, NewArticle(title="T", description="d", body="b"))

    def asked(change: Callable[[], object]) -> list[str]:
        _fill(story, reads, behind)
        change()
        _same(story, reads, truth)
        return behind.asked

    def edit() -> object:
        return articles.change(database, media, story.author, story.slug, ArticleChanges(body="another"))

    def introduce() -> object:
        return users.change(database, Passwords(1), story.author, "token", UserChanges(bio="new"))

    assert asked(edit) == ["article"], "and not its comments"
    assert asked(introduce) == ["article"], "and not the lists by the author's name"
    assert "tags" not in asked(lambda: articles.delete(database, tasks, story.author, untagged.slug))


def test_a_viewers_marks_show_and_nothing_is_read_but_after_following(
    *, story: Story, reads: CachedReads, behind: Slow, truth: SqlReads, database: PostgresDatabase, media: Media
) -> None:
    def same(viewer: int) -> None:
        looks, true = story.looks(reads, viewer), story.looks(truth, viewer)
        for name in ("article", "home", "by author", "comments", "profile"):
            assert looks[name]() == true[name](), name

    _fill(story, reads, behind)
    for viewer in (story.fan, story.author):
        same(viewer)
        for favorited in (False, True, False):
            articles.mark(database, media, viewer, story.slug, favorited=favorited)
            same(viewer)
    assert behind.asked == ["all marks"] * 2
    for following in (False, True):
        for _ in range(2):  # the second changes nothing
            profiles.follow(database, story.fan, story.name, following=following)
            same(story.fan)
    assert behind.asked == ["all marks"] * 4


def test_of_a_viewer_with_too_many_marks_each_page_asks(
    *,
    story: Story,
    reads: CachedReads,
    behind: Slow,
    truth: SqlReads,
    database: PostgresDatabase,
    media: Media,
    inside: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look, true = story.looks(reads, story.fan)["by author"], story.looks(truth, story.fan)["by author"]
    monkeypatch.setattr(keys, "MOST_MARKS", 1)
    for _ in range(2):
        assert look() == true()  # one favourite and one who is followed
    assert behind.asked == ["list", "all marks", "own marks", "own marks"]
    assert inside.get(keys.marks_key(story.fan)) == Absent.TOO_LARGE.value
    articles.mark(database, media, story.fan, story.slug, favorited=False)
    for _ in range(2):
        assert look() == true()
    assert behind.asked[4:] == ["all marks"]


def test_comments_are_kept_down_to_a_hundred_and_not_beyond_their_size(
    *, story: Story, reads: CachedReads, behind: Slow, truth: SqlReads, database: PostgresDatabase, inside: Redis
) -> None:
    _fill(story, reads, behind)
    for number in range(keys.DEPTH + 3):
        comments.add(database, story.fan, story.slug, f"comment {number}")
    look = story.looks(reads)["comments"]
    assert look() == story.looks(truth)["comments"]()
    deepest = Page(keys.DEPTH, 0, ids.MAX_ID + 1)
    shown = DecodedReads(reads).comments(story.article_id, None, deepest)
    assert shown == truth.comments(story.article_id, None, deepest)
    assert len(shown or ()) == keys.DEPTH
    assert behind.asked == []
    comments.add(database, story.fan, story.slug, "long" * (LARGEST_VALUE // 4))
    assert look() == story.looks(truth)["comments"]()
    assert behind.asked == ["comments", "people"]


@contextmanager
def _told_late(told: Told, seed: int) -> Iterator[None]:
    """Whoever commits waits before telling the cache, by chance: so others tell of later commits first."""
    chance = random.Random(seed)

    def wait(events: Sequence[Event]) -> None:
        time.sleep(chance.choice((0, 0, 0.002, 0.01, 0.03)))

    told.insert(0, wait)
    try:
        yield
    finally:
        told.remove(wait)


@pytest.mark.slow
def test_boxes_that_tell_of_their_commits_in_disorder_leave_nothing_wrong(
    *,
    story: Story,
    reads: CachedReads,
    truth: SqlReads,
    database: PostgresDatabase,
    tasks: Tasks,
    media: Media,
    told: Told,
    sign_up: SignUp,
) -> None:
    """Several write about the same few articles, while others read them into the cache."""
    writers = [story.fan, story.author, *(sign_up(fresh()) for _ in range(3))]
    over = threading.Event()

    def publish_and_delete(_writer: int, _chance: random.Random) -> None:
        draft = NewArticle(title="T", description="d", body="b", tagList=[story.tag])
        slug = articles.publish(database, tasks, story.author, draft).slug
        articles.delete(database, tasks, story.author, slug)

    def mark(writer: int, chance: random.Random) -> None:
        articles.mark(database, media, writer, story.slug, favorited=chance.random() < 0.5)

    def comment(writer: int, chance: random.Random) -> None:
        written = comments.add(database, writer, story.slug, fresh())
        if chance.random() < 0.5:
            comments.delete(database, writer, story.slug, written.id)

    def write(number: int, work: Callable[[int, random.Random], None]) -> None:
        chance = random.Random(number)
        for _ in range(12):
            work(writers[number % len(writers)], chance)

    def read() -> int:
        count = 0
        while not over.is_set():
            for look in story.looks(reads).values():
                look()
                count += 1
        return count

    with _told_late(told, 11), ThreadPoolExecutor(10) as threads:
        reading = [threads.submit(read) for _ in range(2)]
        try:
            for _ in range(4):
                work = [mark, mark, mark, comment, comment, publish_and_delete, mark, comment]
                for one in [threads.submit(write, *of) for of in enumerate(work)]:
                    one.result(60)
                _same(story, reads, truth)
        finally:
            over.set()
        assert all(one.result(10) > 10 for one in reading)
