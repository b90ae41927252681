"""What a commit says of its place in the log, on a server that has a replica."""

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
from sqlalchemy import text

from conduit.adapters.positions import FLUSHED, REPLAYED, has_reached, timeline_of
from conduit.adapters.postgres_server import PostgresServer
from conduit.errors import DuplicateError, UnavailableError
from conduit.ports import Writer
from conduit.statements import NoRow, Statement
from conduit_testing.containers import Replicated
from conduit_testing.deployments import NewDatabase
from conduit_testing.replicated import Replica
from conduit_testing.waiting import until


class CountRow(NamedTuple):
    n: int


MAKE = Statement("make", text("CREATE TABLE IF NOT EXISTS things (id int PRIMARY KEY)"), NoRow)
INSERT = Statement("insert", text("INSERT INTO things SELECT coalesce(max(id), 0) + 1 FROM things"), NoRow)
AGAIN = Statement("again", text("INSERT INTO things SELECT max(id) FROM things"), NoRow)
COUNT = Statement("count", text("SELECT count(*) AS n FROM things"), CountRow)


@pytest.fixture(scope="module")
def replica(replicated: Replicated) -> Replica:
    return Replica(replicated)


@pytest.fixture
def server(replica: Replica) -> Iterator[PostgresServer]:
    server = PostgresServer("one", replica.both, 2)
    server.open()
    with server.transaction() as writer:
        writer.all(MAKE)
    yield server
    server.close()


@pytest.fixture
def standby(replica: Replica) -> Iterator[PostgresServer]:
    standby = PostgresServer("one replica", replica.both, 2, wanted="standby")
    standby.open()
    yield standby
    standby.close()


def _replayed(standby: PostgresServer) -> str:
    row = standby.first(REPLAYED)
    assert row is not None
    assert row.is_standby
    assert row.timeline is not None
    assert row.replayed is not None
    return row.timeline + row.replayed


def _written(server: PostgresServer) -> str:
    with server.transaction() as writer:
        writer.all(INSERT)
        assert writer.committed is None, "before its end nobody knows"
    assert writer.committed is not None
    assert writer.committed.server == "one"
    return writer.committed.position


def test_a_replica_that_has_reached_a_commits_position_shows_it(
    server: PostgresServer, standby: PostgresServer, replica: Replica
) -> None:
    for _ in range(5):
        replica.catch_up()
        replica.hold()
        before = standby.first(COUNT)
        position = _written(server)
        assert not has_reached(_replayed(standby), position)
        assert standby.first(COUNT) == before
        replica.go_on()
        until(lambda at=position: has_reached(_replayed(standby), at), "it is not reached")  # type: ignore[misc]
        assert standby.first(COUNT) == server.first(COUNT) != before


def test_later_commits_have_later_positions_of_one_timeline(server: PostgresServer) -> None:
    positions = [_written(server) for _ in range(20)]
    assert positions == sorted(positions)
    assert len({*positions}) == 20
    assert {timeline_of(position) for position in positions} == {"00000001"}
    assert all(len(position) == 24 for position in positions)
    now = server.first(FLUSHED)
    assert now is not None
    assert has_reached(now.position, positions[-1])


def test_what_fails_is_rolled_back_and_its_error_is_told(server: PostgresServer) -> None:
    _written(server)
    before = server.first(COUNT)
    with pytest.raises(DuplicateError), server.transaction() as writer:
        _insert_twice(writer)
    with pytest.raises(ZeroDivisionError), server.transaction() as writer:
        _insert_and_fail(writer)
    assert server.first(COUNT) == before
    assert writer.committed is None


def _insert_twice(writer: Writer) -> None:
    writer.all(INSERT)
    writer.all(AGAIN)


def _insert_and_fail(writer: Writer) -> None:
    writer.all(INSERT)
    raise ZeroDivisionError


def test_a_server_without_replicas_does_not_say(new_database: NewDatabase) -> None:
    server = PostgresServer("main", new_database(), 1)
    server.open()
    with server.transaction() as writer:
        writer.all(MAKE)
    assert writer.committed is None
    server.close()


def test_a_commit_that_is_not_replicated_in_time_is_not_told_as_done(
    server: PostgresServer, replicated: Replicated
) -> None:
    """And it does not go on waiting, with its locks held and unseen by everybody."""
    before = server.first(COUNT)
    with psycopg.connect(replicated.primary, autocommit=True) as admin:
        try:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            admin.execute("SELECT pg_reload_conf()")
            until(lambda: _names(admin) == "nobody", "it is not set")
            with pytest.raises(UnavailableError), server.transaction() as writer:
                writer.all(INSERT)
            assert writer.committed is None
            until(lambda: server.first(COUNT) != before, "nobody sees it")
            assert admin.execute("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchall() == []
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
            until(lambda: _names(admin) == "", "it is still set")
    assert _written(server)


def _names(admin: "psycopg.Connection[tuple[str]]") -> str:
    row = admin.execute("SHOW synchronous_standby_names").fetchone()
    assert row is not None
    return row[0]
