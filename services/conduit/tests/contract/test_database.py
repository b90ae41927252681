"""The contract of every Database: readers and transactions by owner, events, and translated errors."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event as Signal
from typing import NamedTuple

import pytest
from sqlalchemy import Integer, bindparam, func, select, text

from conduit import articles, comments, ids, queries, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_sql import SqlReads
from conduit.errors import ConflictError, DuplicateError, InvalidError, MissingOwnerError, NotFoundError
from conduit.events import ArticlePublished, Event
from conduit.models import users as users_table
from conduit.ports import Database, Media, Page, Tasks, Writer
from conduit.profiles import MOST_FOLLOWED
from conduit.request_bodies import NewArticle
from conduit.rows import IdRow
from conduit.statements import NoRow, Statement
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp


class NameRow(NamedTuple):
    username: str


class NapRow(NamedTuple):
    pg_sleep: str


BY_ID = Statement("by id", select(users_table.c.username).where(users_table.c.id == bindparam("user_id")), NameRow)
EVERYTHING = Page(100, 0, ids.MAX_ID + 1)
NEW_ID = Statement("new id", select(func.next_id(bindparam("shard", type_=Integer)).label("id")), IdRow)
SLEEP = Statement("nap", select(func.pg_sleep(bindparam("seconds"))), NapRow)


def _draft(*tags: str) -> NewArticle:
    return NewArticle(title="A title", description="about", body="text", tagList=sorted(set(tags)))


def test_every_server_answers_a_ping(database: Database) -> None:
    database.ping()
    assert len(database.readers()) == len({reader.server for reader in database.readers()}) >= 1


def test_an_owners_rows_are_only_on_its_shards_server(database: Database, sign_up: SignUp) -> None:
    for _ in range(6):
        name = fresh()
        user_id = sign_up(name)
        assert database.reader(user_id).first(BY_ID, user_id=user_id) == (name,)
        holding = [reader for reader in database.readers() if reader.first(BY_ID, user_id=user_id)]
        assert [reader.server for reader in holding] == [database.reader(user_id).server]


def test_ids_are_grouped_by_the_server_that_holds_them(database: Database) -> None:
    owners = [ids.compose(5, shard, 0) for shard in range(ids.SHARDS)]
    groups = database.readers_of(owners)
    assert sorted(one for _, held in groups for one in held) == owners
    for reader, held in groups:
        assert {database.reader(one).server for one in held} == {reader.server}
    assert database.readers_of([]) == []


def test_an_id_is_made_on_the_requested_shard(database: Database) -> None:
    for shard in (0, 31, 32, 63):
        with database.writing(ids.compose(0, shard, 0)) as writer:
            made = [row.id for _ in range(3) for row in writer.all(NEW_ID, shard=shard)]
        assert {ids.shard_of(one) for one in made} == {shard}
        assert len(set(made)) == 3
        assert max(made) <= ids.MAX_ID


def test_a_transaction_that_raises_is_rolled_back_without_events(
    database: PostgresDatabase, media: Media, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    monkeypatch.setattr(database, "_listeners", (told.extend,))
    user_id = sign_up(fresh())
    told.clear()

    def fail(writer: Writer) -> None:
        writer.all(writes.FOLLOW, viewer=user_id, followee=1, most=MOST_FOLLOWED)
        writer.record(ArticlePublished(1, user_id))
        raise LookupError

    with pytest.raises(LookupError), database.writing(user_id) as writer:
        fail(writer)
    assert told == []
    assert SqlReads(database, media).feed(EVERYTHING, user_id) == ([], 0)


def test_listeners_get_events_after_the_commit(
    database: PostgresDatabase, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = sign_up(fresh())
    told: list[Event] = []
    monkeypatch.setattr(database, "_listeners", (told.extend,))
    with database.writing(user_id) as writer:
        writer.record(ArticlePublished(1, user_id))
        assert told == []
    assert told == [ArticlePublished(1, user_id)]


def test_the_databases_errors_are_translated_to_the_apps(database: Database, sign_up: SignUp) -> None:
    user_id = sign_up(fresh())
    row = {"user_id": user_id, "username": fresh(), "email": fresh(), "password_hash": "x"}
    with pytest.raises(DuplicateError) as refused, database.writing(user_id) as writer:
        writer.all(writes.INSERT_USER, **row)
    assert refused.value.constraint == "users_pkey"
    nobody = ids.compose(1, ids.shard_of(user_id), 0)
    with pytest.raises(MissingOwnerError), database.writing(nobody) as writer:
        writer.all(writes.FOLLOW, viewer=nobody, followee=1, most=MOST_FOLLOWED)
    with pytest.raises(InvalidError), database.writing(user_id) as writer:
        writer.all(writes.INSERT_USER, **row | {"user_id": user_id + 1, "username": "a\x00b"})


def test_an_unknown_name_is_not_found(database: Database, media: Media, sign_up: SignUp) -> None:
    reads = SqlReads(database, media)
    assert reads.profile(fresh(), None) is None
    name = fresh()
    sign_up(name)
    found = reads.profile(name, None)
    assert found is not None
    assert found.username == name


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_deadlock_and_a_serialization_failure_are_conflicts_and_not_an_outage(
    database: Database, sign_up: SignUp, state: str
) -> None:
    user_id = sign_up(fresh())
    conflict = Statement("conflict", text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"), NoRow)

    def follow() -> None:
        with database.writing(user_id) as writer:
            writer.all(writes.FOLLOW, viewer=user_id, followee=1, most=MOST_FOLLOWED)
            writer.all(conflict)

    with pytest.raises(ConflictError, match="conflicted with another change"):
        follow()
    with database.writing(user_id) as writer:
        assert writer.all(queries.FOLLOWEES, viewer=user_id) == []


# Concurrent transactions --------------------------------------------------------------------------------------


@pytest.fixture
def one_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """All new users share a logical shard, and so its counters."""
    monkeypatch.setattr(ids, "random_shard", lambda: 40)


def test_favouriting_an_article_that_is_being_deleted_is_not_found(
    database: Database, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    author, reader = sign_up(fresh()), sign_up(fresh())
    for late in (
        lambda slug: articles.mark(database, media, reader, slug, favorited=True),
        lambda slug: comments.add(database, reader, slug, "text"),
    ):
        slug = articles.publish(database, tasks, author, _draft()).slug
        article_id = articles.id_of(slug)
        with ThreadPoolExecutor(1) as thread:
            with database.writing(article_id) as writer:
                writer.all(writes.LOCK_TO_DELETE, article_id=article_id)
                writer.all(writes.DELETE_ARTICLE, article_id=article_id, shard=ids.shard_of(article_id))
                waiting = thread.submit(late, slug)
                writer.all(SLEEP, seconds=0.2)
            with pytest.raises(NotFoundError):
                waiting.result()


def test_unfavouriting_an_article_that_is_being_deleted_is_no_deadlock(
    database: Database, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    author, reader = sign_up(fresh()), sign_up(fresh())
    slug = articles.publish(database, tasks, author, _draft()).slug
    article_id = articles.id_of(slug)
    shard = ids.shard_of(article_id)
    articles.mark(database, media, reader, slug, favorited=True)

    def take_back() -> None:
        """Unfavourite without the retry, which would hide a deadlock."""
        with database.writing(article_id) as writer:
            writer.all(writes.UNFAVORITE, article_id=article_id, shard=shard, viewer=reader)

    with ThreadPoolExecutor(1) as thread:
        with database.writing(article_id) as writer:
            writer.all(writes.LOCK_TO_DELETE, article_id=article_id)
            waiting = thread.submit(take_back)
            writer.all(SLEEP, seconds=0.2)
            # This also deletes the favourite, which the other transaction must not lock while it waits for the article.
            writer.all(writes.DELETE_ARTICLE, article_id=article_id, shard=shard)
        waiting.result(5)
    with pytest.raises(NotFoundError):
        articles.delete(database, tasks, author, slug)


def test_publishing_while_deleting_keeps_the_authors_place_in_feeds(
    database: Database, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    author, other, reader = sign_up(fresh()), sign_up(fresh()), sign_up(fresh())
    with database.writing(reader) as writer:
        for followee in (author, other):
            writer.all(writes.FOLLOW, viewer=reader, followee=followee, most=MOST_FOLLOWED)
    doomed = articles.publish(database, tasks, author, _draft()).slug
    articles.publish(database, tasks, other, _draft())
    begun, go_on = Signal(), Signal()

    def publish_slowly() -> str:
        with database.writing(author) as writer:
            row = writer.first(
                writes.PUBLISH, viewer=author, shard=ids.shard_of(author), slug_text="x", title="x", description="x",
                body="x", tags=[],
            )  # fmt: skip
            begun.set()
            go_on.wait(1)
            writer.all(SLEEP, seconds=0.2)
        assert row is not None
        slug: str = row.row.slug
        return slug

    with ThreadPoolExecutor(2) as threads:
        publishing = threads.submit(publish_slowly)
        assert begun.wait(5)
        deleting = threads.submit(articles.delete, database, tasks, author, doomed)
        go_on.set()
        newest = publishing.result()
        deleting.result()
    # A page of one article reads only the author with the latest last_article_id.
    found, count = SqlReads(database, media).feed(Page(1, 0, ids.MAX_ID + 1), reader)
    assert [summary.slug for summary in found] == [newest]
    assert count == 2


@pytest.mark.usefixtures("one_shard")
def test_a_deleted_article_is_no_longer_its_authors_newest(
    database: Database, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    """A feed reads only the authors who published last, one for each article down to its page's end."""
    author, other, reader = sign_up(fresh()), sign_up(fresh()), sign_up(fresh())
    with database.writing(reader) as writer:
        for followee in (author, other):
            writer.all(writes.FOLLOW, viewer=reader, followee=followee, most=MOST_FOLLOWED)
    oldest = articles.publish(database, tasks, author, _draft()).slug
    newer = articles.publish(database, tasks, other, _draft()).slug
    newest = articles.publish(database, tasks, author, _draft()).slug
    reads = SqlReads(database, media)
    for expected in (newest, newer, oldest):
        found, _ = reads.feed(Page(1, 0, ids.MAX_ID + 1), reader)
        assert [summary.slug for summary in found] == [expected]
        articles.delete(database, tasks, other if expected == newer else author, expected)
    assert reads.feed(Page(1, 0, ids.MAX_ID + 1), reader) == ([], 0)


@pytest.mark.usefixtures("one_shard")
def test_concurrent_changes_of_the_same_counters_never_deadlock(
    database: Database, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    people = [sign_up(fresh()) for _ in range(8)]
    tags = [fresh("tag") for _ in range(12)]

    def write(number: int) -> None:
        author = people[number]
        for turn in range(4):
            slug = articles.publish(database, tasks, author, _draft(*tags[turn:], *tags[:2])).slug
            for reader in people[turn:] + people[:turn]:
                articles.mark(database, media, reader, slug, favorited=True)
            articles.delete(database, tasks, author, slug)

    with ThreadPoolExecutor(len(people)) as threads:
        list(threads.map(write, range(len(people))))
    reads = SqlReads(database, media)
    for tag in tags:
        assert reads.articles(EVERYTHING, None, tag=tag, author=None, favorited=None) == ([], 0)
    assert not set(tags) & set(reads.tags())
