"""Tasks inside the request and in a worker, for suites that do not know which."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import bootstrap
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp, settings_for
from conduit_testing.queued import Hand, clear, in_no_time
from conduit_testing.slow_work import Letters, Work, inline


def _queued(database: PostgresDatabase, directory: Path, request: pytest.FixtureRequest) -> Iterator[Work]:
    letters, broker_url = Letters(), request.getfixturevalue("new_redis")()
    settings = settings_for("postgresql://nowhere/x", media_dir=directory, broker_url=broker_url)
    clear(database)
    services = bootstrap(settings, database, letters)
    with pytest.MonkeyPatch.context() as patch:
        in_no_time(patch)
        yield Work(services, letters, Hand(services, broker_url).settle)
    services.after_requests()


_WORKERS: dict[str, Callable[[PostgresDatabase, Path, pytest.FixtureRequest], Iterator[Work]]] = {
    "inline": inline,
    "queued": _queued,
}


@pytest.fixture(params=_WORKERS.values(), ids=list(_WORKERS))
def work(request: pytest.FixtureRequest, database: PostgresDatabase, tmp_path: Path) -> Iterator[Work]:
    yield from request.param(database, tmp_path, request)


@pytest.fixture
def queued(request: pytest.FixtureRequest, database: PostgresDatabase, tmp_path: Path) -> Iterator[Work]:
    """Tasks in a worker, for tests that need them to run later."""
    yield from _queued(database, tmp_path, request)


@pytest.fixture
def work_inline(database: PostgresDatabase, tmp_path: Path) -> Iterator[Work]:
    yield from inline(database, tmp_path)


@pytest.fixture
def author(sign_up: SignUp) -> int:
    return sign_up(fresh())
