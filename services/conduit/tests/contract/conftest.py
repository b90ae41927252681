"""Every adapter of a port, for suites that do not know which one they got."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import text

from conduit import users
from conduit.adapters.cache_invalidating import invalidating
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.adapters.media_disk import DiskMedia
from conduit.events import Event
from conduit.passwords import Passwords
from conduit.ports import Enqueued, Listener, Media, Task, Tasks, Writer
from conduit.request_bodies import NewUser
from conduit.rows import IdRow
from conduit.statements import Statement
from conduit.tokens import Tokens
from conduit_testing.deployments import (
    NewDatabase,
    NewRedis,
    SignUp,
    database_on_one_server,
    database_on_two_servers,
    migrated,
    quick_hashes,
)


def _one(new_database: NewDatabase, listeners: Sequence[Listener]) -> PostgresDatabase:
    return database_on_one_server(migrated(new_database), listeners)


def _two(new_database: NewDatabase, listeners: Sequence[Listener]) -> PostgresDatabase:
    return database_on_two_servers(migrated(new_database), migrated(new_database), listeners=listeners)


class Told(list[Listener]):
    """A listener that passes a database's committed events on to the current test's listeners."""

    def __call__(self, events: Sequence[Event]) -> None:
        for listener in self:
            listener(events)


@pytest.fixture(scope="session")
def told() -> Told:
    return Told()


@pytest.fixture(scope="session", params=[_one, _two], ids=["one server", "two servers"])
def database(request: pytest.FixtureRequest, new_database: NewDatabase, told: Told) -> Iterator[PostgresDatabase]:
    """A Database, on one server or on two."""
    database: PostgresDatabase = request.param(new_database, [told])
    database.open()
    yield database
    database.close()


_WAITING = Statement(
    "waiting for a lock",
    text(
        "SELECT pid AS id FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ),
    IdRow,
)


@pytest.fixture
def somebody_waits(database: PostgresDatabase) -> Callable[[], bool]:
    """Whether a transaction waits for another's lock, on any server."""
    return lambda: any(server.first(_WAITING) for server in database.readers())


@pytest.fixture
def cache(new_redis: NewRedis, told: Told) -> Iterator[RedisCache]:
    """An empty cache that gets the database's events."""
    cache = RedisCache(new_redis())
    cache.open()
    listener = invalidating(cache)
    told.append(listener)
    yield cache
    told.remove(listener)
    cache.close()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """A Media, for suites about another port."""
    return DiskMedia(tmp_path_factory.mktemp("media"))


class NoTasks:
    """A Tasks that never runs a task, for suites about another port."""

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:  # noqa: ARG002 - the port's
        return Enqueued(task, 0)

    def send(self, enqueued: Enqueued) -> None: ...


@pytest.fixture(scope="session")
def tasks() -> Tasks:
    return NoTasks()


@pytest.fixture(scope="session")
def tokens() -> Tokens:
    return Tokens("a secret of the tests, long enough for HS256", 1)


@pytest.fixture(scope="session")
def passwords() -> Passwords:
    with quick_hashes():
        return Passwords(2)


@pytest.fixture
def sign_up(database: PostgresDatabase, passwords: Passwords, tokens: Tokens) -> SignUp:
    """Sign up a user with this name. Returns the user's id."""

    def sign_up(name: str) -> int:
        user = users.sign_up(
            database, passwords, tokens, NewUser(username=name, email=f"{name}@example.com", password="long enough")
        )
        return tokens.user_id(user.token)

    return sign_up
