"""The contract of every Reads over every Database, and the number of queries on each server."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from conduit import articles, comments, ids, profiles, users
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.events_null import NullEvents
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.events import ArticlePublished
from conduit.passwords import Passwords
from conduit.ports import Media, Page, Reads, Tasks, Writer
from conduit.request_bodies import ArticleChanges, NewArticle, UserChanges
from conduit.timing import Tally, tally
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp

PAGE = Page(20, 0, ids.MAX_ID + 1)
NOWHERE = {"tag": None, "author": None, "favorited": None}


@pytest.fixture(params=["sql", "cached"])
def reads(request: pytest.FixtureRequest, database: PostgresDatabase, media: Media) -> DecodedReads:
    behind = SqlReads(database, media)
    found: Reads = behind if request.param == "sql" else CachedReads(behind, request.getfixturevalue("cache"), media)
    return DecodedReads(found)


def _most_queries(work: Callable[[], Any]) -> int:
    """The number of queries on the busiest server."""
    spent = Tally()
    token = tally.set(spent)
    try:
        work()
    finally:
        tally.reset(token)
    return max(spent.queries.values(), default=0)


def test_a_missing_thing_is_none_or_empty(reads: DecodedReads, sign_up: SignUp) -> None:
    viewer = sign_up(fresh())
    for who in (None, viewer):
        assert reads.article(viewer, who) is None
        assert reads.comments(viewer, who, PAGE) is None
        assert reads.profile(fresh(), who) is None
        for name in NOWHERE:
            assert reads.articles(PAGE, who, **NOWHERE | {name: fresh()}) == ([], 0)
    assert reads.feed(PAGE, viewer) == ([], 0)


def test_a_route_takes_at_most_two_queries_on_each_server_and_three_for_comments_and_marks(
    reads: DecodedReads, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    names = [fresh() for _ in range(8)]
    people = [sign_up(name) for name in names]
    viewer, author, tag = people[0], people[1], fresh("tag")
    slugs = [
        articles.publish(database, tasks, who, NewArticle(title="t", description="d", body="b", tagList=[tag])).slug
        for who in people[1:]
    ]
    for name in names[1:]:
        profiles.follow(database, viewer, name, following=True)
    for who in people:
        comments.add(database, who, slugs[0], "text")
        articles.mark(database, media, who, slugs[0], favorited=True)
    article_id = articles.id_of(slugs[0])
    readers: tuple[int | None, ...] = (None, viewer)
    for reader in readers:
        # Each twice: what an adapter has cached at first must not make the second read more expensive.
        assert _most_queries(lambda who=reader: reads.article(article_id, who)) <= 2  # type: ignore[misc]
        assert _most_queries(lambda who=reader: reads.article(article_id, who)) <= 2  # type: ignore[misc]
        assert _most_queries(lambda who=reader: reads.profile(names[1], who)) <= 2  # type: ignore[misc]
        assert _most_queries(lambda who=reader: reads.comments(article_id, who, PAGE)) <= 3  # type: ignore[misc]
        for filters in (NOWHERE, {"tag": tag}, {"author": names[1]}, {"favorited": names[2]},
                        {"tag": tag, "author": names[1], "favorited": names[2]}):  # fmt: skip
            assert _most_queries(lambda who=reader, f=filters: reads.articles(PAGE, who, **NOWHERE | f)) <= 2  # type: ignore[misc]
    assert _most_queries(lambda: reads.feed(PAGE, viewer)) <= 2
    assert _most_queries(reads.tags) == 1
    assert _most_queries(lambda: users.current(database, viewer, "token")) == 1
    # Where the viewer is there, the mark, and the follow: the first two are on two servers as often as not.
    assert _most_queries(lambda: articles.mark(database, media, viewer, slugs[1], favorited=True)) <= 3
    assert _most_queries(lambda: comments.add(database, viewer, slugs[1], "x")) <= 2
    assert _most_queries(lambda: profiles.follow(database, viewer, names[1], following=False)) <= 2
    assert (
        _most_queries(
            lambda: articles.publish(
                database, tasks, author, NewArticle(title="t", description="d", body="b", tagList=[tag])
            )
        )
        <= 2
    )
    changes = ArticleChanges(title="Another", tagList=["another", tag])
    assert _most_queries(lambda: articles.change(database, media, author, slugs[0], changes)) <= 2
    assert _most_queries(lambda: articles.delete(database, tasks, author, slugs[0])) <= 2


def test_every_filter_and_page_agrees_with_a_model_in_memory(
    reads: DecodedReads, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    names = [fresh() for _ in range(4)]
    people = {name: sign_up(name) for name in names}
    tags = [fresh("tag") for _ in range(2)]
    written: list[tuple[str, str, set[str], set[str]]] = []
    for number in range(16):
        author = names[number % 3]
        used = {tag for position, tag in enumerate(tags) if number >> position & 1}
        slug = articles.publish(
            database,
            tasks,
            people[author],
            NewArticle(title=f"n{number}", description="d", body="b", tagList=sorted(used)),
        ).slug
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


def test_a_write_shows_at_once_in_every_read(
    reads: DecodedReads, database: PostgresDatabase, tasks: Tasks, media: Media, sign_up: SignUp
) -> None:
    name, fan_name, tag = fresh(), fresh(), fresh("tag")
    assert reads.profile(name, None) is None
    assert reads.articles(PAGE, None, **NOWHERE | {"author": name}) == ([], 0)
    author, fan = sign_up(name), sign_up(fan_name)
    filters: list[dict[str, Any]] = [
        NOWHERE | wanted for wanted in ({}, {"tag": tag}, {"author": name}, {"favorited": fan_name})
    ]
    profile = reads.profile(name, None)
    assert profile is not None
    assert profile.username == name

    def titles() -> list[list[str]]:
        """The titles of the author's articles in each list, with and without a viewer."""
        found = []
        for where in filters:
            anonymous, _ = reads.articles(PAGE, None, **where)
            assert [a.slug for a in anonymous] == [a.slug for a in reads.articles(PAGE, fan, **where)[0]]
            found.append([a.title for a in anonymous if a.author.username == name])
        return found

    assert titles() == [[], [], [], []]
    assert tag not in reads.tags()
    slug = articles.publish(
        database, tasks, author, NewArticle(title="one", description="d", body="b", tagList=[tag])
    ).slug
    article_id = articles.id_of(slug)
    assert titles() == [["one"], ["one"], ["one"], []]
    assert tag in reads.tags()
    articles.mark(database, media, fan, slug, favorited=True)
    assert titles() == [["one"]] * 4
    for where in filters:
        counts = {a.slug: (a.favorites_count, a.favorited) for a in reads.articles(PAGE, fan, **where)[0]}
        assert counts[slug] == (1, True)
    mine, anybodys = reads.article(article_id, fan), reads.article(article_id, None)
    assert mine is not None
    assert anybodys is not None
    assert (mine.favorites_count, mine.favorited, anybodys.favorited) == (1, True, False)
    changed = articles.change(database, media, author, slug, ArticleChanges(title="two", body="B", tagList=[])).slug
    article = reads.article(article_id, None)
    assert article is not None
    assert (article.slug, article.title, article.body) == (changed, "two", "B")
    assert titles() == [["two"], [], ["two"], ["two"]]
    assert tag not in reads.tags()
    articles.mark(database, media, fan, slug, favorited=False)
    assert titles() == [["two"], [], ["two"], []]
    articles.mark(database, media, fan, slug, favorited=True)
    assert titles() == [["two"], [], ["two"], ["two"]]
    articles.delete(database, tasks, author, slug)
    assert titles() == [[], [], [], []]
    assert reads.articles(PAGE, None, **NOWHERE | {"favorited": fan_name})[1] == 0
    assert reads.article(article_id, None) is None
    assert reads.comments(article_id, None, PAGE) is None


def test_a_new_username_shows_at_once_in_every_read(
    reads: DecodedReads,
    database: PostgresDatabase,
    tasks: Tasks,
    passwords: Passwords,
    sign_up: SignUp,
) -> None:
    name, new_name, reader_name = fresh(), fresh(), fresh()
    who, reader = sign_up(name), sign_up(reader_name)
    slug = articles.publish(database, tasks, who, NewArticle(title="t", description="d", body="b", tagList=[])).slug
    comments.add(database, who, slug, "text")
    profiles.follow(database, reader, name, following=True)

    def shown(to: int | None) -> set[tuple[str, bool]]:
        article = reads.article(articles.id_of(slug), to)
        listed = [a for a in reads.articles(PAGE, to, **NOWHERE)[0] if a.slug == slug]
        commented = reads.comments(articles.id_of(slug), to, PAGE)
        assert article is not None
        assert commented is not None
        authors = [article.author, *(a.author for a in listed), *(c.author for c in commented)]
        assert len(authors) == 3
        return {(author.username, author.following) for author in authors}

    for _ in range(2):
        assert shown(None) == {(name, False)}
        assert shown(reader) == {(name, True)}
    assert reads.profile(new_name, None) is None
    changes = UserChanges(username=new_name, email=f"{new_name}@example.com", bio="b")
    users.change(database, passwords, who, "token", changes)
    assert shown(None) == {(new_name, False)}
    assert shown(reader) == {(new_name, True)}
    assert reads.profile(name, None) is None
    profile = reads.profile(new_name, reader)
    assert profile is not None
    assert (profile.bio, profile.following) == ("b", True)
    assert reads.articles(PAGE, None, **NOWHERE | {"author": name}) == ([], 0)
    assert reads.articles(PAGE, None, **NOWHERE | {"author": new_name})[1] == 1
    profiles.follow(database, reader, new_name, following=False)
    assert shown(reader) == {(new_name, False)}
    # Another user has the old name now.
    other = sign_up(name)
    profile = reads.profile(name, other)
    assert profile is not None
    assert profile.bio is None


def test_comments_show_at_once_newest_first_up_to_the_limit(
    reads: DecodedReads, database: PostgresDatabase, tasks: Tasks, sign_up: SignUp
) -> None:
    who = sign_up(fresh())
    slug = articles.publish(database, tasks, who, NewArticle(title="t", description="d", body="b", tagList=[])).slug
    article_id = articles.id_of(slug)
    assert reads.comments(article_id, None, PAGE) == []
    made = [comments.add(database, who, slug, f"{n}").id for n in range(4)]

    def bodies(page: Page) -> list[str]:
        return [comment.body for comment in reads.comments(article_id, None, page) or []]

    assert bodies(PAGE) == ["3", "2", "1", "0"]
    assert bodies(Page(2, 0, ids.MAX_ID + 1)) == ["3", "2"]
    assert bodies(Page(2, 0, made[2])) == ["1", "0"]
    comments.delete(database, who, slug, made[3])
    assert bodies(PAGE) == ["2", "1", "0"]


def test_null_events_leave_the_transaction_alone() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the transaction's {name} was used")

    NullEvents().record(cast("Writer", Untouched()), [ArticlePublished(1, 2)])
