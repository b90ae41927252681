"""A database with a replica that a test may hold up, and a site that reads from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from conduit.migrate import migrate
from conduit.placement import place
from conduit_testing.client import Api, fresh
from conduit_testing.containers import Replicated
from conduit_testing.deployments import served, settings_for
from conduit_testing.waiting import until


class Replica:
    """One new database on a server that has a replica."""

    def __init__(self, pair: Replicated) -> None:
        name = fresh("replicated")
        with psycopg.connect(pair.primary, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}")
        self.primary, self.standby = (url.rpartition("/")[0] + f"/{name}" for url in (pair.primary, pair.standby))
        migrate(self.primary)
        self.catch_up()

    @property
    def both(self) -> str:
        """A URL with both hosts."""
        first, second = (url.rpartition("@")[2].rpartition("/")[0] for url in (self.primary, self.standby))
        return self.primary.replace(first, f"{first},{second}")

    def on_standby(self, statement: str) -> Any:
        with psycopg.connect(self.standby, autocommit=True) as standby:
            row = standby.execute(statement).fetchone()
        return row and row[0]

    def hold(self) -> None:
        """From now on the replica shows nothing new."""
        self.on_standby("SELECT pg_wal_replay_pause()")
        until(lambda: self.on_standby("SELECT pg_get_wal_replay_pause_state()") == "paused", "it goes on")

    def go_on(self) -> None:
        self.on_standby("SELECT pg_wal_replay_resume()")
        self.catch_up()

    def catch_up(self) -> None:
        with psycopg.connect(self.primary, autocommit=True) as primary:
            row = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'"
        until(
            lambda: self.on_standby(reached),
            "the replica does not catch up",
            within=30.0,
            not_yet=(psycopg.OperationalError,),  # it may be starting
        )


@contextmanager
def site_with(replica: Replica, directory: str, media_dir: Path, **settings: Any) -> Iterator[Api]:
    """The API of an app with one shard, which has a replica."""
    place(directory, ["one"])
    with (
        served(settings_for(directory, shards=f"one={replica.both}", media_dir=media_dir, **settings)) as base_url,
        httpx.Client(base_url=base_url, timeout=20) as http,
    ):
        yield Api(http)


def is_from_replica(answer: httpx.Response) -> bool:
    """Whether a replica answered a part of what the database was asked for."""
    assert answer.status_code == 200, answer.text
    return "replica;" in answer.headers["server-timing"]
