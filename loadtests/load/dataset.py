"""What the mixes ask for: a sample of the stage's own rows, read once at the generator's start.

Articles come by popularity (their favourites), users in a fixed random order. A stage with more than a
hundred thousand articles gives a uniform sample of them, so that the generator's memory is bounded. The lists
(newest, of a tag, of an author) are known as far as their first pages show them, for the covers there.
"""

import datetime as dt
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import jwt
import psycopg

from loadtests.load.popularity import Zipf

ARTICLES_AT_MOST = 100_000
USERS_AT_MOST = 20_000
# Of the newest articles, and of each tag and author: what a first page shows, and more of those where people page on.
NEWEST = 50
ON_A_PAGE = 10
TAGS_LISTED = 500
TAGS = "SELECT tag, sum(count)::bigint FROM tag_counts GROUP BY tag HAVING sum(count) > 0"
# One that is not ready yet is not shown.
_COVER = "CASE WHEN a.cover_state = 'ready' THEN a.cover_digest ELSE '' END"
_NEWEST = f"SELECT a.id, a.slug, {_COVER} FROM articles AS a ORDER BY a.id DESC LIMIT %s"  # noqa: S608 - ours
_OF_TAGS = f"""
    SELECT used.tag, a.id, a.slug, {_COVER}
    FROM (SELECT tag FROM tag_counts GROUP BY tag HAVING sum(count) > 0 ORDER BY sum(count) DESC LIMIT %s) AS used
    CROSS JOIN LATERAL (
        SELECT article_id FROM article_tags WHERE tag = used.tag ORDER BY article_id DESC LIMIT %s
    ) AS listed
    JOIN articles AS a ON a.id = listed.article_id
"""  # noqa: S608 - ours
_OF_AUTHORS = f"""
    SELECT a.author_id, a.slug, {_COVER}
    FROM unnest(%s::bigint[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT id, author_id, slug, cover_state, cover_digest FROM articles
        WHERE author_id = wanted.id ORDER BY id DESC LIMIT %s
    ) AS a
    ORDER BY a.author_id, a.id DESC
"""  # noqa: S608 - ours
COUNTED_EXACTLY_UP_TO = 1_000_000
PASSWORD = "conduit-seed"  # noqa: S105 - of every seeded user, documented in the seed; no secret


class EmptyDatasetError(Exception):
    """The stage's database holds no articles to read, or fewer than two users to sign in."""


class DatabaseUnreachableError(Exception):
    """The stage's database does not answer, or does not let us in."""


@dataclass(frozen=True, slots=True)
class User:
    """A seeded user: its id is the token's subject, the others are in paths and bodies."""

    id: int
    username: str
    email: str


class Article(NamedTuple):
    """What a list or a page tells of an article: its slug, and the digest of its cover, empty where it has none."""

    slug: str
    cover: str


@dataclass
class Dataset:
    """Sampled rows and the laws by which they are picked."""

    articles: list[Article]
    users: list[User]
    heavy: list[User]
    """Users who follow the most others: the readers with the costliest feeds."""
    tags: list[str]
    counts: dict[str, int]
    """Rows of each table as the database had them at the start, for the report."""
    newest: list[Article] = field(default_factory=list)
    """The NEWEST articles, newest first."""
    of_tag: dict[str, list[Article]] = field(default_factory=dict)
    """The newest ON_A_PAGE of each tag; of very many tags, those of the most used."""
    of_author: dict[int, list[Article]] = field(default_factory=dict)
    """The newest ON_A_PAGE of each user in ``users`` who published, by the user's id."""
    secret: str = ""
    seeded: dict[str, Any] | None = None
    """What the seeding put there, before anybody signed up or published; None where it was not all our own seed."""
    _tokens: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._articles = Zipf(len(self.articles))
        self._authors = Zipf(len(self.users))
        self._tags = Zipf(len(self.tags)) if self.tags else None

    def articles_by_popularity(self) -> Iterator[tuple[float, Article]]:
        """Each after its share of all that ``article`` draws, the most popular first."""
        return zip(self._articles.shares(), self.articles, strict=True)

    def authors_by_popularity(self) -> Iterator[tuple[float, User]]:
        """Each after its share of all that ``author`` draws, the most popular first."""
        return zip(self._authors.shares(), self.users, strict=True)

    def article(self, rng: random.Random) -> Article:
        """An article, by popularity."""
        return self.articles[self._articles.draw(rng)]

    def slug(self, rng: random.Random) -> str:
        """An article's slug, by popularity."""
        return self.article(rng).slug

    def author(self, rng: random.Random) -> User:
        """A user whom others look at and follow, by popularity."""
        return self.users[self._authors.draw(rng)]

    def visitor(self, rng: random.Random) -> User:
        """A user who signs in, each as likely."""
        return self.users[int(rng.random() * len(self.users))]

    def heavy_reader(self, rng: random.Random) -> User:
        """One of those who follow the most others, each as likely."""
        return self.heavy[int(rng.random() * len(self.heavy))]

    def tag(self, rng: random.Random) -> str:
        """A tag, by popularity."""
        return self.tags[self._tags.draw(rng)] if self._tags else "none"

    def token(self, user: User) -> str:
        """A token as the app's own login gives it, made once a user."""
        token = self._tokens.get(user.id)
        if token is None:
            now = dt.datetime.now(dt.UTC)
            claims = {"sub": str(user.id), "iat": now, "exp": now + dt.timedelta(days=1)}
            token = self._tokens[user.id] = jwt.encode(claims, self.secret, algorithm="HS256")
        return token


def parse_databases(texts: list[str]) -> list[str]:
    """URLs of the servers that hold rows, out of ``0-63=postgresql://…``, ``shard1=postgresql://…`` or plain URLs, as
    the stages' labels and DATABASE_URL give them. A directory holds names only.
    """
    named = [text.partition("=") if "=" in text.partition("://")[0] else ("", "", text) for text in texts]
    return [url for name, _, url in named if name != "directory"]


def read(urls: list[str], secret: str | None = None) -> Dataset:
    """The sample, from every server of the stage.

    Raises EmptyDatasetError when there is nothing to ask for, DatabaseUnreachableError when a server does not
    answer.
    """
    articles: list[tuple[int, int, str, str]] = []
    newest: list[tuple[int, str, str]] = []
    of_tag: dict[str, list[tuple[int, str, str]]] = {}
    of_author: dict[int, list[Article]] = {}
    users: list[tuple[int, str, str]] = []
    heavy: list[tuple[int, int, str, str]] = []
    tags: dict[str, int] = {}
    counts: dict[str, int] = {}
    seeds: list[dict[str, Any] | None] = []
    for url in urls:
        try:
            with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
                for table, count in _counts(connection).items():
                    counts[table] = counts.get(table, 0) + count
                seeds.append(_seed(connection))
                articles += _articles(connection, counts["articles"], len(urls))
                newest += connection.execute(_NEWEST, [NEWEST]).fetchall()
                for tag, *row in connection.execute(_OF_TAGS, [TAGS_LISTED, ON_A_PAGE]):
                    of_tag.setdefault(tag, []).append((row[0], row[1], row[2]))
                found = _users(connection, counts["users"], len(urls))
                users += found
                for author, slug, cover in connection.execute(_OF_AUTHORS, [[row[0] for row in found], ON_A_PAGE]):
                    of_author.setdefault(author, []).append(Article(slug, cover))
                heavy += _heavy(connection, counts["users"])
                for tag, count in connection.execute(TAGS):
                    tags[tag] = tags.get(tag, 0) + count
        except psycopg.errors.UndefinedTable as error:
            raise EmptyDatasetError("the database has no tables yet: has the app started once?") from error
        except psycopg.OperationalError as error:
            raise DatabaseUnreachableError(f"the stage's database does not answer: {error}") from error
    if not articles or len(users) < 2:
        raise EmptyDatasetError("the stage holds no articles, or fewer than two users")
    # Ties in popularity are broken by a fixed shuffle, not by age: old articles are no more read for being
    # old.
    rng = random.Random(1)
    articles.sort()
    rng.shuffle(articles)
    articles.sort(key=lambda row: -row[0])
    users.sort()
    rng.shuffle(users)
    heavy.sort(key=lambda row: (-row[0], row[1]))
    everyone = [User(*row) for row in users]
    return Dataset(
        articles=[Article(slug, cover) for _, _, slug, cover in articles],
        users=everyone,
        heavy=[User(*row[1:]) for row in heavy[: _heavy_count(counts["users"])]] or everyone,
        tags=sorted(tags, key=lambda tag: (-tags[tag], tag)),
        counts=counts,
        newest=_first(newest, NEWEST),
        of_tag={tag: _first(rows, ON_A_PAGE) for tag, rows in of_tag.items()},
        of_author=of_author,
        secret=os.environ.get("JWT_SECRET", "") if secret is None else secret,
        seeded=seeds[0] if all(seed == seeds[0] for seed in seeds) else None,
    )


def _seed(connection: psycopg.Connection) -> dict[str, Any] | None:
    from data.loading import marker  # noqa: PLC0415 - the app's package, which it uses, is not on the host's path

    found = marker.read(connection)
    return asdict(found.seed) if found and found.seed else None


def _first(rows: list[tuple[int, str, str]], count: int) -> list[Article]:
    """The newest of several servers' newest: id, slug and cover each."""
    return [Article(slug, cover) for _, slug, cover in sorted(rows, reverse=True)[:count]]


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of each table; of a very large one the planner's estimate, as counting would warm every page."""
    counts = {}
    for table in ("users", "articles", "comments", "favorites", "follows"):
        planner = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"
        row = connection.execute(planner, [table]).fetchone()
        estimate = int(row[0]) if row else 0
        if estimate <= COUNTED_EXACTLY_UP_TO:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
            estimate = int(row[0]) if row else 0
        counts[table] = estimate
    return counts


def _sample(rows: int, at_most: int) -> str:
    """A clause that reads about ``at_most`` rows of a larger table, the same each time, a block at once."""
    if rows <= at_most:
        return ""
    return f"TABLESAMPLE SYSTEM ({100 * at_most / rows:.4f}) REPEATABLE (1)"


def _articles(connection: psycopg.Connection, rows: int, servers: int) -> list[tuple[int, int, str, str]]:
    at_most = ARTICLES_AT_MOST // servers
    statement = (
        f"SELECT favorites_count, id, slug, {_COVER} FROM articles AS a {_sample(rows, at_most)} LIMIT {at_most}"  # noqa: S608
    )
    return connection.execute(statement).fetchall()


def _users(connection: psycopg.Connection, rows: int, servers: int) -> list[tuple[int, str, str]]:
    at_most = USERS_AT_MOST // servers
    statement = f"SELECT id, username, email FROM users {_sample(rows, at_most)} LIMIT {at_most}"  # noqa: S608
    return connection.execute(statement).fetchall()


def _heavy_count(users: int) -> int:
    """One user in twenty, at most 500: enough that their feeds are not one page in the database's memory."""
    return max(1, min(500, users // 20))


def _heavy(connection: psycopg.Connection, users: int) -> list[tuple[int, int, str, str]]:
    return connection.execute(
        """
        SELECT f.followed, u.id, u.username, u.email
        FROM (SELECT follower_id, count(*) AS followed FROM follows GROUP BY follower_id
              ORDER BY followed DESC, follower_id LIMIT %s) AS f
        JOIN users AS u ON u.id = f.follower_id
        """,
        [_heavy_count(users)],
    ).fetchall()
