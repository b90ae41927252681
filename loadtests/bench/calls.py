"""What ``sizes.py`` times: each route of the API that asks the database, as calls of the app's own functions.

Keys are drawn by the laws of the mixes (``loadtests.load.dataset``): articles, authors and tags by popularity, who is
signed in evenly. What can be changed only by whose it is, is asked for by them. What is taken away was there: comments,
follows and covers of the dataset, each once, and the articles and users that are deleted and renamed are the least
popular, which nothing else asks for.
"""

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeVar

import psycopg
from PIL import Image

from conduit import articles, comments, covers, profiles, reports, users
from conduit.ids import MAX_ID, id_from_slug
from conduit.ports import Page
from conduit.request_bodies import ArticleChanges, Login, NewArticle, NewUser, UserChanges
from conduit.services import Services
from loadtests.load.dataset import PASSWORD, Article, Dataset

Call = Callable[[], object]
Item = TypeVar("Item")
# Made twice in a row they do the same work twice; what marks, takes away or signs up does not.
DOES_THE_SAME_AGAIN = {
    "POST /api/articles",
    "PUT /api/articles/{slug}",
    "PUT /api/articles/{slug}/cover",
    "POST /api/articles/{slug}/comments",
    "PUT /api/user, bio",
    "POST /api/users/login",
    "POST /api/user/reports",
}
PAGE = Page(20, 0, MAX_ID + 1)


class Calls:
    """The calls on one dataset, whose rows are found at ``url``; ``times`` is how often each is made at the most.

    ``draw`` picks the keys: with the same state it picks the same again. What is taken away can be taken once, so of
    those calls each is another.
    """

    def __init__(self, use: Services, url: str, data: Dataset, draw: random.Random, times: int) -> None:
        self._use, self._draw = use, draw
        self._numbers = count()
        self._reports: list[tuple[int, int]] = []
        # Held back from all else; a dataset of which they were most would be none.
        self._renamed = iter(data.users[-times:])
        deleted = data.articles[-times:]
        self._data = replace(data, users=data.users[:-times], articles=data.articles[:-times])
        with psycopg.connect(url, autocommit=True) as connection:
            self._authors = _authors(connection, data.articles)
            known = {user.id: user.username for user in self._data.users}
            self._follows = iter(_some(_follows(connection, known), times))
            self._comments = iter(_some(_comments(connection, self._data.articles), times))
        self._deleted = iter([article.slug for article in deleted])
        covered = [article.slug for article in self._data.articles if article.cover]
        self._covered = iter(_some(covered, times))

    def by_route(self) -> dict[str, Call]:
        """Each call by its route, ``METHOD path``, and what is particular about it."""
        use, draw, data = self._use, self._draw, self._data
        article = "/api/articles/{slug}"
        return {
            f"GET {article}, anonymous": lambda: use.reads.article(self._article_id(), None),
            f"GET {article}, signed in": lambda: use.reads.article(self._article_id(), self._visitor()),
            "GET /api/articles, anonymous": lambda: self._listed(None),
            "GET /api/articles, signed in": lambda: self._listed(self._visitor()),
            "GET /api/articles, by tag": lambda: self._listed(None, tag=data.tag(draw)),
            "GET /api/articles, by author": lambda: self._listed(None, author=self._name()),
            "GET /api/articles, by favorited": lambda: self._listed(None, favorited=self._name()),
            "GET /api/articles/feed": lambda: use.reads.feed(PAGE, self._visitor()),
            f"GET {article}/comments, signed in": self._read_comments,
            "GET /api/profiles/{username}, signed in": lambda: use.reads.profile(self._name(), self._visitor()),
            "GET /api/tags": use.reads.tags,
            "GET /api/user": lambda: users.current(use.database, self._visitor(), ""),
            "GET /api/user/reports/{report_id}": self._read_report,
            "GET /api/user/reports/{report_id}/audience.csv": self._read_report_file,
            f"POST {article}/favorite": lambda: self._mark(favorited=True),
            f"DELETE {article}/favorite": lambda: self._mark(favorited=False),
            f"POST {article}/comments": self._comment,
            f"DELETE {article}/comments/{{comment_id}}": self._take_back_comment,
            "POST /api/profiles/{username}/follow": self._follow,
            "DELETE /api/profiles/{username}/follow": self._unfollow,
            "POST /api/articles": self._publish,
            f"PUT {article}": self._edit,
            f"DELETE {article}": self._delete,
            f"PUT {article}/cover": self._cover,
            f"DELETE {article}/cover": self._uncover,
            "POST /api/users": self._sign_up,
            "POST /api/users/login": self._sign_in,
            "PUT /api/user, bio": self._change_bio,
            "PUT /api/user, renamed": self._rename,
            "POST /api/user/reports": self._ask_for_report,
        }

    # Keys ---------------------------------------------------------------------------------------------------

    def _visitor(self) -> int:
        return self._data.visitor(self._draw).id

    def _name(self) -> str:
        return self._data.author(self._draw).username

    def _slug(self) -> str:
        return self._data.slug(self._draw)

    def _article_id(self) -> int:
        return articles.id_of(self._slug())

    def _another(self, user_id: int) -> str:
        while (other := self._data.author(self._draw)).id == user_id:
            pass
        return other.username

    def _author_of(self, slug: str) -> int:
        return self._authors[articles.id_of(slug)]

    # Reading ------------------------------------------------------------------------------------------------

    def _listed(
        self, viewer: int | None, tag: str | None = None, author: str | None = None, favorited: str | None = None
    ) -> object:
        return self._use.reads.articles(PAGE, viewer, tag=tag, author=author, favorited=favorited)

    def _read_comments(self) -> object:
        return self._use.reads.comments(self._article_id(), self._visitor(), PAGE)

    def _read_report(self) -> object:
        return reports.show(self._use.database, *self._report())

    def _read_report_file(self) -> object:
        return reports.file(self._use.database, self._use.media, *self._report())

    def _report(self) -> tuple[int, int]:
        if not self._reports:
            self._ask_for_report()
        return self._reports[int(self._draw.random() * len(self._reports))]

    # Writing ------------------------------------------------------------------------------------------------

    def _mark(self, *, favorited: bool) -> object:
        return articles.mark(self._use.database, self._use.media, self._visitor(), self._slug(), favorited=favorited)

    def _comment(self) -> object:
        return comments.add(self._use.database, self._visitor(), self._slug(), "A comment.")

    def _take_back_comment(self) -> None:
        comments.delete(self._use.database, *next(self._comments))

    def _follow(self) -> object:
        viewer = self._visitor()
        return profiles.follow(self._use.database, viewer, self._another(viewer), following=True)

    def _unfollow(self) -> object:
        return profiles.follow(self._use.database, *next(self._follows), following=False)

    def _publish(self) -> object:
        body = "A body. " * 100
        draft = NewArticle(
            title=f"A title {next(self._numbers)}",
            description="A description",
            body=body,
            tag_list=[self._data.tag(self._draw)],
        )
        return articles.publish(self._use.database, self._use.tasks, self._visitor(), draft)

    def _edit(self) -> object:
        slug = self._slug()
        changes = ArticleChanges(body=f"Another body {next(self._numbers)}. " * 50)
        return articles.change(self._use.database, self._use.media, self._author_of(slug), slug, changes)

    def _delete(self) -> None:
        slug = next(self._deleted)
        articles.delete(self._use.database, self._use.tasks, self._author_of(slug), slug)

    def _cover(self) -> object:
        slug = self._slug()
        # Another each time: the same again would change nothing.
        colour = next(self._numbers)
        upload = io.BytesIO()
        Image.new("RGB", (64, 48), (colour & 255, colour >> 8 & 255, 0)).save(upload, "PNG")
        use, author = self._use, self._author_of(slug)
        return covers.replace(use.database, use.media, use.tasks, author, slug, upload=upload.getvalue())

    def _uncover(self) -> object:
        slug = next(self._covered)
        return covers.remove(self._use.database, self._use.media, self._use.tasks, self._author_of(slug), slug)

    def _sign_up(self) -> object:
        name = f"bench{next(self._numbers)}"
        new = NewUser(username=name, email=f"{name}@example.org", password=PASSWORD)
        return users.sign_up(self._use.database, self._use.passwords, self._use.tokens, new)

    def _sign_in(self) -> object:
        login = Login(email=self._data.visitor(self._draw).email, password=PASSWORD)
        return users.sign_in(self._use.database, self._use.passwords, self._use.tokens, login)

    def _change_bio(self) -> object:
        return self._change(self._visitor(), UserChanges(bio=f"A bio {next(self._numbers)}."))

    def _rename(self) -> object:
        return self._change(next(self._renamed).id, UserChanges(username=f"renamed{next(self._numbers)}"))

    def _change(self, user_id: int, changes: UserChanges) -> object:
        return users.change(self._use.database, self._use.passwords, user_id, "", changes)

    def _ask_for_report(self) -> object:
        viewer = self._visitor()
        report = reports.request(self._use.database, self._use.media, self._use.tasks, viewer)
        self._reports.append((viewer, report.id))
        return report


# Rows of the dataset that calls take away, found before anything is timed ---------------------------------------


def _some(items: Sequence[Item], times: int) -> list[Item]:
    """As many as are asked for, spread over all of them in an order of chance, the same each time."""
    return random.Random(2).sample(items, min(times, len(items)))


def _authors(connection: psycopg.Connection, found: list[Article]) -> dict[int, int]:
    wanted = [id_from_slug(article.slug) for article in found]
    return dict(connection.execute("SELECT id, author_id FROM articles WHERE id = ANY(%s)", [wanted]).fetchall())


def _follows(connection: psycopg.Connection, known: dict[int, str]) -> list[tuple[int, str]]:
    """Who follows, and the name of whom."""
    rows = connection.execute(
        "SELECT follower_id, followee_id FROM follows TABLESAMPLE SYSTEM (10) REPEATABLE (1) LIMIT 100000"
    ).fetchall()
    return [(follower, known[followee]) for follower, followee in rows if follower in known and followee in known]


def _comments(connection: psycopg.Connection, found: list[Article]) -> list[tuple[int, str, int]]:
    """Who wrote it, the slug of its article, and its id."""
    slugs = {id_from_slug(article.slug): article.slug for article in found}
    rows = connection.execute(
        "SELECT author_id, article_id, id FROM comments TABLESAMPLE SYSTEM (10) REPEATABLE (1) LIMIT 100000"
    ).fetchall()
    return [(author, slugs[article], comment) for author, article, comment in rows if article in slugs]
