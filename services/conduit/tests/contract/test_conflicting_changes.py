"""A conflict at any statement or commit of a change leaves the same end as a change without one."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row

import conduit
from conduit import articles, comments, outbox, profiles, users
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import ConflictError
from conduit.events import Event
from conduit.models import DIRECTORY_TABLES, OWNED_TABLES
from conduit.passwords import Passwords
from conduit.ports import Enqueued, Listener, Media, Task, Writer
from conduit.request_bodies import ArticleChanges, NewArticle, NewUser, UserChanges
from conduit.tokens import Tokens
from conduit_testing.deployments import NewDatabase, database_on_one_server, database_on_two_servers, migrated

TABLES = [table.name for table in (*DIRECTORY_TABLES, *OWNED_TABLES)]
DRAFT = NewArticle(title="Title", description="d", body="b", tagList=["one", "two"])


class Conflicting:
    """A Database of which the statement or commit with the number ``at`` raises ConflictError, once."""

    def __init__(self, database: PostgresDatabase, at: int | None) -> None:
        self._database = database
        self._at = at
        self.moments = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def moment(self) -> None:
        self.moments += 1
        if self.moments - 1 == self._at:
            raise ConflictError

    @contextmanager
    def writing(self, owner_id: int) -> Iterator[Writer]:
        with self._database.writing(owner_id) as writer:
            yield _Writer(writer, self)
            self.moment()

    @contextmanager
    def directory(self) -> Iterator[Writer]:
        with self._database.directory() as writer:
            yield _Writer(writer, self)
            self.moment()


class _Writer:
    """A Writer whose statements may be rolled back."""

    def __init__(self, writer: Writer, conflicting: Conflicting) -> None:
        self._writer = writer
        self._conflicting = conflicting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def all(self, *arguments: Any, **parameters: Any) -> Any:
        rows = self._writer.all(*arguments, **parameters)
        self._conflicting.moment()
        return rows

    def first(self, *arguments: Any, **parameters: Any) -> Any:
        row = self._writer.first(*arguments, **parameters)
        self._conflicting.moment()
        return row


class Counted(Passwords):
    """Counts the hashes, which are slow, and makes none."""

    def __init__(self) -> None:
        super().__init__(1)
        self.hashed = 0

    def hash(self, password: str) -> str:
        self.hashed += 1
        return password


class OutboxTasks:
    """A queue whose tasks stay in the outbox, which shows how often each was enqueued."""

    def __init__(self) -> None:
        self.sent = 0

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:
        return outbox.enqueue(writer, task)

    def send(self, _enqueued: Enqueued) -> None:
        self.sent += 1


class Scene:
    """Two users, two articles of the first, a comment and a favourite of the second; nothing else is in the servers."""

    def __init__(self, servers: "Servers", media: Media, tokens: Tokens) -> None:
        self._servers = servers
        self.media, self.tokens = media, tokens

    def prepare(self) -> None:
        """Begin anew, without conflicts."""
        self._servers.clear()
        self.database: Any = self._servers.database
        self.tasks, self.passwords = OutboxTasks(), Counted()
        self.author, self.reader = self.sign_up("author"), self.sign_up("reader")
        self.slug = articles.publish(self.database, self.tasks, self.author, DRAFT).slug
        self.other = articles.publish(self.database, self.tasks, self.author, DRAFT).slug
        articles.mark(self.database, self.media, self.reader, self.other, favorited=True)
        self.comment = comments.add(self.database, self.reader, self.slug, "first").id

    def sign_up(self, name: str) -> int:
        new = NewUser(username=name, email=f"{name}@example.com", password="long enough")
        return self.tokens.user_id(users.sign_up(self.database, self.passwords, self.tokens, new).token)


def _sign_up(scene: Scene) -> object:
    return scene.sign_up("third")


def _change_user(scene: Scene) -> object:
    changes = UserChanges(username="renamed", email="renamed@example.com", bio="a bio", password="another one")
    return users.change(scene.database, scene.passwords, scene.author, "token", changes)


def _change_article(scene: Scene) -> object:
    changes = ArticleChanges(title="Other", tagList=["two", "three"])
    return articles.change(scene.database, scene.media, scene.author, scene.slug, changes)


USE_CASES: dict[str, Callable[[Scene], object]] = {
    "users.sign_up": _sign_up,
    "users.change": _change_user,
    "articles.publish": lambda scene: articles.publish(scene.database, scene.tasks, scene.author, DRAFT),
    "articles.change": _change_article,
    "articles.delete": lambda scene: articles.delete(scene.database, scene.tasks, scene.author, scene.slug),
    "articles.mark": lambda scene: articles.mark(scene.database, scene.media, scene.reader, scene.slug, favorited=True),
    "articles.mark, taken back": lambda scene: articles.mark(
        scene.database, scene.media, scene.reader, scene.other, favorited=False
    ),
    "comments.add": lambda scene: comments.add(scene.database, scene.reader, scene.slug, "second"),
    "comments.delete": lambda scene: comments.delete(scene.database, scene.reader, scene.slug, scene.comment),
    "profiles.follow": lambda scene: profiles.follow(scene.database, scene.reader, "author", following=True),
}
# Transactions of use cases that are more than one.
PARTS = {
    "directory._take": "users.sign_up",
    "directory.release": "users.change",
    "users._insert": "users.sign_up",
    "users._change": "users.change",
}


class Servers(NamedTuple):
    """A database, the URLs of its servers, and the events that it committed."""

    database: PostgresDatabase
    urls: list[str]
    events: list[Event]

    def clear(self) -> None:
        for connection in self._connections():
            connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        self.events.clear()

    def rows(self) -> list[str]:
        """All rows of all servers as texts."""
        return sorted(
            f"{table}: {_plain(row)}"
            for connection in self._connections()
            for table in TABLES
            for row in connection.execute(f"SELECT * FROM {table}")  # noqa: S608
        )

    def _connections(self) -> Iterator["psycopg.Connection[dict[str, Any]]"]:
        for url in self.urls:
            with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
                yield connection


def _plain(row: dict[str, Any]) -> str:
    """A row without what is different each time: its random shard, hashes, ids and times."""
    values = {name: "time" if isinstance(value, datetime) else value for name, value in row.items()}
    return _LONG_NUMBER.sub("id", str({name: values[name] for name in values.keys() - {"shard", "password_hash"}}))


_LONG_NUMBER = re.compile(r"\d{10,}")
# When and where in the log a change was made is another each time.
_TIME_OR_POSITION = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=position=)[1-9]\d*")


@pytest.fixture(scope="module", params=[1, 2], ids=["one server", "two servers"])
def servers(request: pytest.FixtureRequest, new_database: NewDatabase) -> Iterator[Servers]:
    urls = [migrated(new_database) for _ in range(request.param)]
    committed: list[Event] = []

    def keep(events: Sequence[Event]) -> None:
        committed.extend(events)

    listeners: list[Listener] = [keep]
    database = (
        database_on_one_server(urls[0], listeners)
        if len(urls) == 1
        else database_on_two_servers(urls[0], urls[1], listeners=listeners)
    )
    database.open()
    yield Servers(database, urls, committed)
    database.close()


class End(NamedTuple):
    """What a change left behind."""

    rows: list[str]
    events: list[str]
    sent: int
    hashed: int


def _end(servers: Servers, scene: Scene, use_case: Callable[[Scene], object], at: int | None) -> tuple[End, int]:
    """What the change leaves behind where its moment ``at`` conflicts, and how many moments it has."""
    scene.prepare()
    scene.database = conflicting = Conflicting(servers.database, at)
    use_case(scene)
    events = sorted(_LONG_NUMBER.sub("id", _TIME_OR_POSITION.sub("-", repr(event))) for event in servers.events)
    return End(servers.rows(), events, scene.tasks.sent, scene.passwords.hashed), conflicting.moments


@pytest.mark.parametrize("name", USE_CASES)
def test_a_conflict_at_any_moment_changes_nothing_of_the_end(
    servers: Servers, media: Media, tokens: Tokens, name: str
) -> None:
    scene = Scene(servers, media, tokens)
    undisturbed, moments = _end(servers, scene, USE_CASES[name], None)
    assert moments >= 2
    assert undisturbed.events
    for at in range(moments):
        end, seen = _end(servers, scene, USE_CASES[name], at)
        assert seen > moments, f"nothing was retried after a conflict at {at}"
        assert end == undisturbed, f"after a conflict at {at} of {moments}"


def test_every_change_that_is_retried_is_among_these() -> None:
    """Those with a decorator, or the use case that such a transaction is a part of."""
    retried = set()
    for path in Path(conduit.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and "retry_on_conflict" in map(ast.unparse, node.decorator_list):
                retried.add(f"{path.stem}.{node.name}")
    assert retried - PARTS.keys() <= USE_CASES.keys()
    assert retried >= PARTS.keys()
