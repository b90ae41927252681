"""The cache never shows the past: what a change outdates is not read again, and nothing else is outdated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from conduit import articles, comments, users
from conduit.adapters.cache_entries import Absent
from conduit.adapters.cache_keys import article_keys, cache_tag_of_tag
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.postgres_server import PostgresServer, PostgresTransaction
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.errors import UnavailableError
from conduit.events import ArticlePublished, Event
from conduit.passwords import Passwords
from conduit.ports import Listener, Media, Tasks
from conduit.request_bodies import ArticleChanges, NewArticle, UserChanges
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp
from conduit_testing.story import NOWHERE, PAGE, Slow, Story


class Changes:
    """To each look a change that it shows."""

    def __init__(self, story: Story, database: PostgresDatabase, tasks: Tasks, media: Media) -> None:
        def change(**changes: Any) -> Callable[[], object]:
            return lambda: articles.change(database, media, story.author, story.slug, ArticleChanges(**changes))

        def delete() -> None:
            articles.delete(database, tasks, story.author, story.slug)

        self.to: dict[str, Callable[[], object]] = {
            "article": change(title="two"),
            "home": delete,
            "by tag": change(tagList=[]),
            "by author": delete,
            "favourites": lambda: articles.mark(database, media, story.fan, story.slug, favorited=False),
            "comments": lambda: comments.add(database, story.fan, story.slug, "second"),
            "profile": lambda: users.change(database, Passwords(1), story.author, "token", UserChanges(bio="new")),
            "tags": change(tagList=[]),
        }


@pytest.fixture
def changes(story: Story, database: PostgresDatabase, tasks: Tasks, media: Media) -> Changes:
    return Changes(story, database, tasks, media)


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
def test_what_was_read_before_redis_lost_its_version_counters_is_not_kept(
    name: str, story: Story, changes: Changes, reads: CachedReads, inside: Redis
) -> None:
    look, behind = story.looks(reads)[name], reads._reads
    assert isinstance(behind, Slow)

    def change_and_lose_everything() -> None:
        changes.to[name]()
        inside.flushdb()

    behind.meanwhile = change_and_lose_everything
    before = look()
    assert look() != before


def test_a_new_user_is_found_by_a_caller_who_asked_before(reads: CachedReads, sign_up: SignUp) -> None:
    name = fresh()
    for _ in range(2):
        assert reads.profile(name, None) is None
        assert DecodedReads(reads).articles(PAGE, None, **NOWHERE | {"favorited": name}) == ([], 0)
    sign_up(name)
    assert reads.profile(name, None) is not None


def test_after_a_rename_the_former_name_is_unknown_and_the_new_one_known(
    story: Story, reads: CachedReads, database: PostgresDatabase
) -> None:
    new_name = fresh()

    def found() -> list[tuple[bool, int]]:
        """Of both names whether there is a profile, and how many articles its list has."""
        return [
            (reads.profile(name, None) is not None, reads.articles(PAGE, None, **NOWHERE | {"author": name})[1])
            for name in (story.name, new_name)
        ]

    for _ in range(2):
        assert found() == [(True, 2), (False, 0)]
    users.change(database, Passwords(1), story.author, "token", UserChanges(username=new_name))
    for _ in range(2):
        assert found() == [(False, 0), (True, 2)]


def test_a_former_name_that_was_read_between_the_change_and_its_release_is_unknown_afterwards(
    story: Story, reads: CachedReads, database: PostgresDatabase, told: list[Listener]
) -> None:
    def read(events: Sequence[Event]) -> None:
        """Right after the invalidation: where the names have a server of their own, the old one still leads there."""
        reads.articles(PAGE, None, **NOWHERE | {"author": story.name})

    told.append(read)
    try:
        users.change(database, Passwords(1), story.author, "token", UserChanges(username=fresh()))
    finally:
        told.remove(read)
    assert reads.profile(story.name, None) is None
    assert DecodedReads(reads).articles(PAGE, None, **NOWHERE | {"author": story.name}) == ([], 0)


def test_an_article_that_was_asked_for_before_it_existed_is_found_once_it_is_published(
    *, reads: CachedReads, inside: Redis, told: list[Listener], database: PostgresDatabase, tasks: Tasks, story: Story
) -> None:
    def plant(events: Sequence[Event]) -> None:
        """What such reads leave behind. Ids come from the database, so nobody can ask before this."""
        for event in events:
            if isinstance(event, ArticlePublished):
                for key in article_keys(event.article_id):
                    inside.set(key, Absent.NOT_FOUND.value)

    told.insert(0, plant)
    try:
        article = articles.publish(database, tasks, story.author, NewArticle(title="T", description="d", body="b"))
    finally:
        told.remove(plant)
    found = DecodedReads(reads).article(articles.id_of(article.slug), None)
    assert found is not None
    assert found.body == "b"
    assert DecodedReads(reads).comments(articles.id_of(article.slug), None, PAGE) == []


def test_articles_that_go_while_a_list_is_completed_leave_the_list(
    *,
    story: Story,
    reads: CachedReads,
    behind: Slow,
    database: PostgresDatabase,
    tasks: Tasks,
    told: list[Listener],
    inside: Redis,
) -> None:
    def listed() -> list[str]:
        found, _ = DecodedReads(reads).articles(PAGE, None, **NOWHERE | {"author": story.name})
        return [article.slug for article in found]

    slugs = listed()
    # The other box that deletes them has not invalidated them yet.
    listeners, told[:] = list(told), []
    try:
        for slug in slugs:
            articles.delete(database, tasks, story.author, slug)
    finally:
        told[:] = listeners
    inside.delete(f"by:{story.author}")
    behind.asked.clear()
    assert listed() == []
    assert behind.asked == ["summaries", "list"]


def test_a_commit_whose_answer_is_lost_is_invalidated(
    story: Story, reads: CachedReads, database: PostgresDatabase, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = PostgresServer.transaction

    @contextmanager
    def unanswered(self: PostgresServer) -> Iterator[PostgresTransaction]:
        with transaction(self) as writer:
            yield writer
        raise UnavailableError("the database")

    before = DecodedReads(reads).article(story.article_id, None)
    monkeypatch.setattr(PostgresServer, "transaction", unanswered)
    with pytest.raises(UnavailableError):
        articles.change(database, media, story.author, story.slug, ArticleChanges(title="another"))
    monkeypatch.undo()
    after = DecodedReads(reads).article(story.article_id, None)
    assert before is not None
    assert after is not None
    assert (before.title, after.title) == ("one", "another")


def test_only_a_change_of_a_tag_changes_the_list_by_that_tag(
    *, story: Story, reads: CachedReads, behind: Slow, database: PostgresDatabase, tasks: Tasks, media: Media
) -> None:
    def listed() -> int:
        behind.asked.clear()
        return reads.articles(PAGE, None, **NOWHERE | {"tag": story.tag})[1]

    def publish(*tags: str) -> str:
        draft = NewArticle(title="T", description="d", body="b", tagList=list(tags))
        return articles.publish(database, tasks, story.author, draft).slug

    other = next(tag for tag in map(str, range(9)) if cache_tag_of_tag(tag) != cache_tag_of_tag(story.tag))
    assert listed() == 1
    slug = publish(other)
    assert (listed(), behind.asked) == (1, [])
    articles.change(database, media, story.author, story.slug, ArticleChanges(description="another"))
    assert (listed(), behind.asked) == (1, ["summaries"])
    assert (listed(), behind.asked) == (1, [])

    articles.change(database, media, story.author, slug, ArticleChanges(tagList=[other, story.tag]))
    assert (listed(), behind.asked) == (2, ["list"])
    articles.change(database, media, story.author, slug, ArticleChanges(tagList=[other]))
    assert (listed(), behind.asked) == (1, ["list"])
    publish(story.tag)
    assert (listed(), behind.asked) == (2, ["summaries"])
    articles.delete(database, tasks, story.author, story.slug)
    assert (listed(), behind.asked) == (1, [])
