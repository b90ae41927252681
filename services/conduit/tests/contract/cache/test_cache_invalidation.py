"""The cache never brings the past back: what a change made old is not read again, and nothing else is made old."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from conduit import articles, comments, users
from conduit.adapters.cache_records import slot_of_tag
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.postgres_server import PostgresServer, PostgresTransaction
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.errors import UnavailableError
from conduit.passwords import Passwords
from conduit.ports import Media, Tasks
from conduit.request_bodies import ArticleChanges, NewArticle, UserChanges
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.story import NOWHERE, PAGE, Slow, Story


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
            "by tag": change(tagList=[]),
            "by author": delete,
            "favourites": lambda: articles.mark(database, media, story.fan, story.slug, favorited=False),
            "comments": lambda: comments.add(database, story.fan, story.slug, "second"),
            "profile": lambda: users.change(database, Passwords(1), story.author, "token", UserChanges(bio="new")),
            "tags": change(tagList=[]),
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


def test_a_list_by_tag_is_old_once_an_article_got_or_lost_that_tag_and_for_no_other_reason(
    *, story: Story, reads: CachedReads, behind: Slow, database: PostgresDatabase, tasks: Tasks, media: Media
) -> None:
    def listed() -> int:
        behind.asked.clear()
        return reads.articles(PAGE, None, **NOWHERE | {"tag": story.tag})[1]

    def publish(*tags: str) -> str:
        draft = NewArticle(title="T", description="d", body="b", tagList=list(tags))
        return articles.publish(database, tasks, story.author, draft).slug

    other = next(tag for tag in map(str, range(9)) if slot_of_tag(tag) != slot_of_tag(story.tag))
    assert listed() == 1
    slug = publish(other)
    articles.change(database, media, story.author, story.slug, ArticleChanges(description="another"))
    assert (listed(), behind.asked) == (1, ["summaries"])
    assert (listed(), behind.asked) == (1, [])

    articles.change(database, media, story.author, slug, ArticleChanges(tagList=[other, story.tag]))
    assert (listed(), behind.asked) == (2, ["list"])
    articles.change(database, media, story.author, slug, ArticleChanges(tagList=[other]))
    assert (listed(), behind.asked) == (1, ["list"])
    publish(story.tag)
    assert (listed(), behind.asked) == (2, ["list"])
    articles.delete(database, story.author, story.slug)
    assert (listed(), behind.asked) == (1, ["list"])
