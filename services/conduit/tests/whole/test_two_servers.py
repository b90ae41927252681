"""The same routes and use cases over two servers: each server holds its owners' rows and no others."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from conduit.ids import shard_of
from conduit_testing.client import Api, fresh, id_of
from conduit_testing.deployments import Deployment, NewDatabase, deployed_on_two_servers
from conduit_testing.mail_server import MailServer, mail_server
from conduit_testing.pictures import upload

OWNED = {
    "users": "id", "articles": "id", "article_tags": "article_id", "favorites": "article_id", "comments": "article_id",
    "follows": "follower_id", "reports": "id",
}  # fmt: skip
COUNTED = ("article_counts", "tag_counts", "favorite_counts")


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture(scope="module")
def deployment(new_database: NewDatabase, server: MailServer) -> Iterator[Deployment]:
    with deployed_on_two_servers(new_database, smtp_url=server.url) as deployment:
        yield deployment


@pytest.fixture
def api(deployment: Deployment) -> Iterator[Api]:
    with httpx.Client(base_url=deployment.base_url, timeout=20) as http:
        yield Api(http)


def _shards(url: str, table: str, column: str) -> set[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()  # noqa: S608
    return {row[0] if column == "shard" else shard_of(row[0]) for row in rows}


def test_users_and_their_rows_are_on_both_servers_behind_one_api(
    api: Api, deployment: Deployment, server: MailServer
) -> None:
    tag = fresh("tag")
    people = [api.sign_up() for _ in range(24)]
    slugs = [person.slug(tagList=[tag]) for person in people]
    reader = people[0]
    for person, slug in zip(people[1:], slugs[1:], strict=True):
        reader.follow(person)
        person.follow(reader)
        reader.favorite(slug)
        person.comment(slugs[0])
        reader.comment(slug)
        person.favorite(slugs[0])
    for person, slug in zip(people, slugs, strict=True):
        assert person.upload(slug, upload()).status_code == 200
    asked = [person.post("/user/reports").json()["report"] for person in people]

    first, second = deployment.databases
    for table, column in [*OWNED.items(), *((table, "shard") for table in COUNTED)]:
        on_first, on_second = _shards(first, table, column), _shards(second, table, column)
        assert on_first, table
        assert on_second, table
        assert max(on_first) <= 31, table
        assert min(on_second) >= 32, table
    with psycopg.connect(first) as connection:
        assert connection.execute("SELECT count(*) FROM usernames").fetchone() == (len(people),)
    with psycopg.connect(second) as connection:
        for table in ("usernames", "emails"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608

    newest_first = sorted(slugs, key=id_of, reverse=True)
    for caller in (api, reader):
        assert caller.articles(tag=tag) == (newest_first[:20], len(slugs))
        assert caller.articles(tag=tag, offset=20) == (newest_first[20:], len(slugs))
    assert reader.feed(limit=100) == ([slug for slug in newest_first if slug != slugs[0]], len(slugs) - 1)
    assert api.articles(favorited=reader.username, limit=100)[1] == len(slugs) - 1
    assert api.article(slugs[0])["favoritesCount"] == len(people) - 1
    comments = reader.get(f"/articles/{slugs[0]}/comments").json()["comments"]
    assert {comment["author"]["username"] for comment in comments} == {person.username for person in people[1:]}
    assert all(comment["author"]["following"] for comment in comments)

    states = [person.article(slug)["cover"]["state"] for person, slug in zip(people, slugs, strict=True)]
    assert states == ["ready"] * len(people)
    # Followers, favourites and comments for an author on each server, by people on both.
    audience = reader.get(asked[0]["url"].removeprefix("/api")).text.splitlines()[1:]
    for relation in ("follower", "favorited", "commented"):
        told = sorted(line.split(",")[0] for line in audience if f",{relation}," in line)
        assert told == sorted(person.username for person in people[1:])
    for person, report in zip(people[1:], asked[1:], strict=True):
        told = person.get(report["url"].removeprefix("/api")).text.splitlines()[1:]
        assert [line.split(",")[:2] for line in told] == [
            [reader.username, relation] for relation in ("follower", "favorited", "commented")
        ]
    server.got.clear()
    reader.slug()
    assert sorted(to for to, _ in server.got) == sorted(person.email for person in people[1:])
