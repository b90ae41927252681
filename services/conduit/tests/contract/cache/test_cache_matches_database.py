"""Random writes beside concurrent readers: at every quiet point the cache answers what the database answers."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from operator import methodcaller
from typing import Any

import pytest

from conduit import articles, comments, ids, profiles, users
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.passwords import Passwords
from conduit.ports import Media, Page, Reads, Tasks
from conduit.request_bodies import ArticleChanges, NewArticle, UserChanges
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp
from conduit_testing.story import NOWHERE

SEED = 20261127
WRITES = 150
WRITES_BETWEEN_CHECKS = 5
READERS = 3
DEADLINE_SECONDS = 120.0  # it takes some ten; the rest is for a busy machine
USERS = 4
NAMES_PER_USER = 3  # which a user takes again and again, so that a name is known, unknown and known again
# Also pages that a change is not on, while it changes their total.
PAGES = (Page(20, 0, ids.MAX_ID + 1), Page(3, 2, ids.MAX_ID + 1), Page(1, 0, ids.MAX_ID + 1))

Read = Callable[[Reads], Any]


class World:
    """Users who write at random, and everything that can be read of what they wrote."""

    def __init__(
        self,
        database: PostgresDatabase,
        tasks: Tasks,
        media: Media,
        passwords: Passwords,
        sign_up: SignUp,
    ) -> None:
        self._database, self._tasks, self._media, self._passwords = database, tasks, media, passwords
        self._random = random.Random(SEED)
        base = fresh()
        self.names = {sign_up(f"{base}{n}x0"): [f"{base}{n}x{m}" for m in range(NAMES_PER_USER)] for n in range(USERS)}
        self._called = {user: names[0] for user, names in self.names.items()}
        self.tags = [f"{base}-{n}" for n in range(3)]
        self.slugs: dict[str, int] = {}  # those that exist, each with its author
        self.article_ids: list[int] = []  # of all there ever were
        self.comments: list[tuple[str, int, int]] = []
        self._writes: list[tuple[Callable[[int], None], int]] = [
            (self._publish, 4),
            (self._change, 4),
            (self._delete, 3),
            (self._favorite, 8),
            (self._comment, 4),
            (self._delete_comment, 2),
            (self._follow, 3),
            (self._rename, 3),
            (self._change_bio, 2),
        ]

    def write(self) -> str:
        """One random write; returns what it was."""
        work = self._random.choices(*zip(*self._writes, strict=True))[0] if self.slugs else self._publish
        work(self._random.choice(list(self.names)))
        return work.__name__

    def _some_tags(self) -> list[str]:
        return self._random.sample(self.tags, self._random.randint(0, 2))

    def _some_slug(self) -> str:
        return self._random.choice(list(self.slugs))

    def _publish(self, user: int) -> None:
        draft = NewArticle(title=fresh(), description="d", body="b", tagList=self._some_tags())
        slug = articles.publish(self._database, self._tasks, user, draft).slug
        self.slugs[slug] = user
        self.article_ids.append(articles.id_of(slug))

    def _change(self, _user: int) -> None:
        slug = self._some_slug()
        changes = self._random.choice(
            [ArticleChanges(title=fresh()), ArticleChanges(body=fresh()), ArticleChanges(tagList=self._some_tags())]
        )
        author = self.slugs.pop(slug)
        changed = articles.change(self._database, self._media, author, slug, changes).slug
        self.slugs[changed] = author
        self.comments = [(changed if where == slug else where, *rest) for where, *rest in self.comments]  # type: ignore[misc]

    def _delete(self, _user: int) -> None:
        slug = self._some_slug()
        articles.delete(self._database, self._tasks, self.slugs.pop(slug), slug)
        self.comments = [comment for comment in self.comments if comment[0] != slug]

    def _favorite(self, user: int) -> None:
        favorited = self._random.random() < 0.7
        articles.mark(self._database, self._media, user, self._some_slug(), favorited=favorited)

    def _follow(self, user: int) -> None:
        other = self._random.choice([name for other, name in self._called.items() if other != user])
        profiles.follow(self._database, user, other, following=self._random.random() < 0.7)

    def _comment(self, user: int) -> None:
        slug = self._some_slug()
        self.comments.append((slug, user, comments.add(self._database, user, slug, fresh()).id))

    def _delete_comment(self, _user: int) -> None:
        if self.comments:
            slug, writer, comment_id = self.comments.pop(self._random.randrange(len(self.comments)))
            comments.delete(self._database, writer, slug, comment_id)

    def _rename(self, user: int) -> None:
        name = self._random.choice(self.names[user])
        self._change_user(user, UserChanges(username=name))
        self._called[user] = name

    def _change_bio(self, user: int) -> None:
        self._change_user(user, UserChanges(bio=fresh()))

    def _change_user(self, user: int, changes: UserChanges) -> None:
        users.change(self._database, self._passwords, user, "token", changes)

    def reads(self) -> Iterator[tuple[str, Read]]:
        """Every read of what there is, and of what there was or may come to be, by its name."""
        names = [name for of_user in self.names.values() for name in of_user]
        viewers = [None, *self.names]
        for article_id in self.article_ids[-15:]:
            for viewer in viewers:
                yield f"article {article_id} for {viewer}", methodcaller("article", article_id, viewer)
            yield f"comments of {article_id}", methodcaller("comments", article_id, None, PAGES[0])
        for name in names:
            yield f"profile {name}", methodcaller("profile", name, None)
        filters: list[dict[str, str]] = [{}, *({"tag": tag} for tag in self.tags)]
        filters += [{kind: name} for kind in ("author", "favorited") for name in names]
        for where, page in product(filters, PAGES):
            yield f"list {where} {page}", methodcaller("articles", page, None, **NOWHERE | where)
        for viewer in viewers[1:]:
            yield f"home for {viewer}", methodcaller("articles", PAGES[0], viewer, **NOWHERE)
        yield "tags", methodcaller("tags")


@pytest.fixture
def world(
    database: PostgresDatabase, tasks: Tasks, media: Media, passwords: Passwords, sign_up: SignUp
) -> World:
    return World(database, tasks, media, passwords, sign_up)


@pytest.mark.slow
def test_the_cache_answers_what_the_database_answers(
    world: World, reads: CachedReads, database: PostgresDatabase, media: Media
) -> None:
    truth = SqlReads(database, media)
    deadline = time.monotonic() + DEADLINE_SECONDS
    locks = [threading.Lock() for _ in range(READERS)]  # each held by its reader during a read
    over = threading.Event()

    def read_on(number: int) -> int:
        choose, count = random.Random(SEED + number), 0
        while not over.is_set():
            _, read = choose.choice(list(world.reads()))
            with locks[number]:
                read(reads)
            count += 1
            time.sleep(0)  # lets a check take the lock
        return count

    def check(after: list[str]) -> None:
        with ExitStack() as quiet:
            for lock in locks:
                assert lock.acquire(timeout=10), "a reader hangs"
                quiet.callback(lock.release)
            for name, read in world.reads():
                expected = read(truth)
                # The first may set what it missed, the second must find that.
                for _ in range(2):
                    assert read(DecodedReads(reads)) == expected, (name, after)

    with ThreadPoolExecutor(READERS) as threads:
        try:
            readers = [threads.submit(read_on, number) for number in range(READERS)]
            for _ in range(WRITES // WRITES_BETWEEN_CHECKS):
                check([world.write() for _ in range(WRITES_BETWEEN_CHECKS)])
                assert time.monotonic() < deadline
                assert not any(reader.done() for reader in readers), "a reader failed"
        finally:
            over.set()
        assert all(reader.result(10) > 10 for reader in readers)
