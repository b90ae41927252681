"""For the suites about the queue: a real broker, a worker that a test controls, and an author with a follower."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit import writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import bootstrap
from conduit.profiles import MOST_FOLLOWED
from conduit_testing.client import fresh
from conduit_testing.deployments import NewRedis, SignUp, settings_for
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import Letters
from conduit_testing.queued import Hand, clear, in_no_time


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def broker(new_redis: NewRedis) -> Iterator[Proxy]:
    """A proxy to an empty broker."""
    proxy = Proxy(new_redis())
    yield proxy
    proxy.close()


@pytest.fixture
def hand(
    database: PostgresDatabase, broker: Proxy, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hand]:
    """A worker with three attempts, whose relay sends waiting tasks at once."""
    in_no_time(monkeypatch)
    clear(database)
    settings = settings_for("postgresql://nowhere/x", media_dir=tmp_path, broker_url=broker.url)
    services = bootstrap(settings, database, letters)
    yield Hand(services, broker.url)
    services.after_requests()


@pytest.fixture
def author(sign_up: SignUp, database: PostgresDatabase) -> int:
    """An author with one follower."""
    author = sign_up(fresh())
    follower = sign_up(fresh())
    with database.writing(follower) as writer:
        writer.all(writes.FOLLOW, viewer=follower, followee=author, most=MOST_FOLLOWED)
    return author
