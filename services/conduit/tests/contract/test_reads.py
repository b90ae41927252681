"""What every Reads adapter does over every Database, and how many queries a server it takes."""

from collections.abc import Callable
from typing import Any

import pytest

from conduit import articles, comments, ids, profiles, users
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.events_null import NullEvents
from conduit.adapters.reads_sql import SqlReads
from conduit.events import ArticlePublished
from conduit.ports import Media, Page, Reads, Tasks
from conduit.schemas import ArticleChanges, NewArticle
from conduit.timing import Tally, tally
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp

PAGE = Page(20, 0, ids.MAX_ID + 1)
NOWHERE = {"tag": None, "author": None, "favorited": None}


@pytest.fixture(params=[SqlReads], ids=["sql"])
def reads(request: pytest.FixtureRequest, database: PostgresDatabase, media: Media) -> Reads:
    made: Reads = request.param(database, media)
    return made


def _most_queries(work: Callable[[], Any]) -> int:
    """The queries that the busiest server answered."""
    spent = Tally()
    token = tally.set(spent)
    try:
        work()
    finally:
        tally.reset(token)
    return max(spent.queries.values(), default=0)


def test_what_is_not_there_is_none_or_empty(reads: Reads, sign_up: SignUp) -> None:
    viewer = sign_up(fresh())
    for who in (None, viewer):
        assert reads.article(viewer, who) is None
        assert reads.comments(viewer, who, PAGE) is None
        assert reads.profile(fresh(), who) is None
        for name in NOWHERE:
            assert reads.articles(PAGE, who, **NOWHERE | {name: fresh()}) == ([], 0)
    assert reads.feed(PAGE, viewer) == ([], 0)


def test_no_route_asks_a_server_more_than_twice_nor_comments_thrice(
    reads: Reads, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    names = [fresh() for _ in range(8)]
    people = [sign_up(name) for name in names]
    viewer, author, tag = people[0], people[1], fresh("tag")
    slugs = [articles.publish(database, tasks, who, NewArticle("t", "d", "b", [tag])).slug for who in people[1:]]
    for name in names[1:]:
        profiles.follow(database, viewer, name, following=True)
    for who in people:
        comments.add(database, who, slugs[0], "text")
        articles.mark(database, media, who, slugs[0], favorited=True)
    article_id = articles.id_of(slugs[0])
    readers: tuple[int | None, ...] = (None, viewer)
    for reader in readers:
        assert _most_queries(lambda who=reader: reads.article(article_id, who)) <= 2  # type: ignore[misc]
        assert _most_queries(lambda who=reader: reads.profile(names[1], who)) <= 2  # type: ignore[misc]
        assert _most_queries(lambda who=reader: reads.comments(article_id, who, PAGE)) <= 3  # type: ignore[misc]
        for filters in (NOWHERE, {"tag": tag}, {"author": names[1]}, {"favorited": names[2]},
                        {"tag": tag, "author": names[1], "favorited": names[2]}):  # fmt: skip
            assert _most_queries(lambda who=reader, f=filters: reads.articles(PAGE, who, **NOWHERE | f)) <= 2  # type: ignore[misc]
    assert _most_queries(lambda: reads.feed(PAGE, viewer)) <= 2
    assert _most_queries(reads.tags) == 1
    assert _most_queries(lambda: users.current(database, viewer, "token")) == 1
    assert _most_queries(lambda: articles.mark(database, media, viewer, slugs[1], favorited=True)) <= 2
    assert _most_queries(lambda: comments.add(database, viewer, slugs[1], "x")) <= 2
    assert _most_queries(lambda: profiles.follow(database, viewer, names[1], following=False)) <= 2
    assert _most_queries(lambda: articles.publish(database, tasks, author, NewArticle("t", "d", "b", [tag]))) <= 2
    changes = ArticleChanges(title="Another", tag_list=["another", tag])
    assert _most_queries(lambda: articles.change(database, media, author, slugs[0], changes)) <= 2
    assert _most_queries(lambda: articles.delete(database, author, slugs[0])) <= 2


def test_every_filter_and_page_agrees_with_a_model_in_memory(
    reads: Reads, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    names = [fresh() for _ in range(4)]
    people = {name: sign_up(name) for name in names}
    tags = [fresh("tag") for _ in range(2)]
    written: list[tuple[str, str, set[str], set[str]]] = []
    for number in range(16):
        author = names[number % 3]
        used = {tag for position, tag in enumerate(tags) if number >> position & 1}
        slug = articles.publish(database, tasks, people[author], NewArticle(f"n{number}", "d", "b", sorted(used))).slug
        fans = {name for position, name in enumerate(names) if number >> position & 1}
        for fan in fans:
            articles.mark(database, media, people[fan], slug, favorited=True)
        written.insert(0, (slug, author, used, fans))
    filters: list[tuple[str | None, str | None, str | None]] = [
        (tag, author, fan) for tag in (None, *tags) for author in (None, *names) for fan in (None, *names)
    ]
    for wanted in filters[1:]:  # all but the list of everything, which other tests write to
        tag_wanted, author_wanted, fan_wanted = wanted
        expected = [
            slug for slug, by, used, fans in written
            if tag_wanted in (None, *used) and author_wanted in (None, by) and fan_wanted in (None, *fans)
        ]  # fmt: skip
        for offset, limit in ((0, 100), (0, 2), (1, 3), (3, 2)):
            page = Page(limit, offset, ids.MAX_ID + 1)
            found, count = reads.articles(page, None, tag=tag_wanted, author=author_wanted, favorited=fan_wanted)
            assert [one.slug for one in found] == expected[offset : offset + limit]
            assert count == len(expected)


def test_events_that_nobody_keeps_are_dropped(database: PostgresDatabase, sign_up: SignUp) -> None:
    user_id = sign_up(fresh())
    with database.writing(user_id) as writer:
        NullEvents().record(writer, [ArticlePublished(1, user_id)])
    with database.writing(user_id) as writer:
        writer.record(ArticlePublished(1, user_id))
    assert database.reader(user_id)
