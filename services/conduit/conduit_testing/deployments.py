"""The deployed app in this process: the real ASGI server on a free port, with one or two database servers."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from pydantic import SecretStr

from conduit import passwords
from conduit.adapters.database_postgres import PostgresDatabase, one_server
from conduit.adapters.events_null import NullEvents
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.shard_map import FixedMap
from conduit.bootstrap import bootstrap
from conduit.http_protocol import BoundedHttp
from conduit.main import create_app
from conduit.migrate import migrate
from conduit.placement import place
from conduit.ports import Listener
from conduit.server import Server
from conduit.settings import Settings

NewRedis = Callable[[], str]
SignUp = Callable[[str], int]

SECRET = "a secret of the tests, long enough for HS256"
NO_LIMIT = "1000000/second"


class NewDatabase(Protocol):
    """Makes a database: empty, or a copy of the one on its server that ``template`` names. Its URL."""

    def __call__(self, template: str = ...) -> str: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Deployment:
    """A running app's URL, and its parts that tests inspect. ``servers`` is the number of database servers."""

    base_url: str
    servers: int = 1
    databases: list[str] = field(default_factory=list)
    media_dir: Path | None = None


def settings_for(database_url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": database_url,
        "jwt_secret": SecretStr(SECRET),
        "login_limit": NO_LIMIT,
        "write_limit": NO_LIMIT,
    }
    return Settings(**values | changes)


def migrated(new_database: NewDatabase) -> str:
    """The URL of a new database with the newest schema, copied from one that is migrated once.

    TEST_TEMPLATE_DATABASE names one that exists already.
    """
    return new_database(template=os.environ.get("TEST_TEMPLATE_DATABASE") or _template(new_database))


@cache
def _template(new_database: NewDatabase) -> str:
    url = new_database()
    migrate(url)
    return url.rpartition("/")[2]


def database_on_one_server(url: str, listeners: Sequence[Listener] = ()) -> PostgresDatabase:
    return one_server(PostgresServer("main", url, 10), NullEvents(), listeners)


def database_on_two_servers(
    first: str,
    second: str,
    kind: type[PostgresDatabase] = PostgresDatabase,
    listeners: Sequence[Listener] = (),
) -> PostgresDatabase:
    """Logical shards 0-31 and 32-63 on two servers, and the directory on a third, which uses the first's database."""
    one, two = PostgresServer("one", first, 10), PostgresServer("two", second, 10)
    return kind(FixedMap([one] * 32 + [two] * 32), PostgresServer("directory", first, 10), NullEvents(), listeners)


@contextmanager
def quick_hashes() -> Iterator[None]:
    """Within it, a new Passwords hashes with the least that Argon2 takes: signing up would take most of a suite's time.

    The app's own parameters are held by a test of theirs, and by the API suite against a stage.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "MEMORY_KIB", 8)
        patch.setattr(passwords, "PASSES", 1)
        yield


@contextmanager
def deployed_on_one_server(new_database: NewDatabase, **settings: Any) -> Iterator[Deployment]:
    url = migrated(new_database)
    with (
        tempfile.TemporaryDirectory() as media_dir,
        served(settings_for(url, media_dir=media_dir, **settings)) as base_url,
    ):
        yield Deployment(base_url, 1, [url], Path(media_dir))


@contextmanager
def deployed_on_two_servers(new_database: NewDatabase, **settings: Any) -> Iterator[Deployment]:
    urls = [migrated(new_database), migrated(new_database)]
    place(urls[0], ["one", "two"])
    shards = f"one={urls[0]} two={urls[1]}"
    with (
        tempfile.TemporaryDirectory() as media_dir,
        served(settings_for(urls[0], shards=shards, media_dir=media_dir, **settings)) as base_url,
    ):
        yield Deployment(base_url, 3, urls, Path(media_dir))


@contextmanager
def served(settings: Settings, database: PostgresDatabase | None = None, turns_away: bool = False) -> Iterator[str]:
    """The app's base URL while uvicorn serves it in a thread, configured as in the program."""
    config = uvicorn.Config(
        create_app(settings, bootstrap(settings, database)),
        host="127.0.0.1",
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,
    )
    listener = socket.create_server((config.host, 0))
    server = Server(config, listener, turns_away)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 15
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the app did not start")
        time.sleep(0.01)
    try:
        host, port = listener.getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=15)
        assert not thread.is_alive(), "the app did not stop"
