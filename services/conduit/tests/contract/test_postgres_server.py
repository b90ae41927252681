"""One PostgreSQL server: how a busy pool and a hanging server affect later requests."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import pytest
from sqlalchemy import text

from conduit.adapters.postgres_server import ANSWER_SECONDS, PostgresServer
from conduit.errors import InvalidError, UnavailableError
from conduit.statements import Statement
from conduit_testing.deployments import NewDatabase
from conduit_testing.proxy import Proxy, proxied
from conduit_testing.waiting import until


class OneRow(NamedTuple):
    one: int


ONE = Statement("one", text("SELECT 1 AS one"), OneRow)


@pytest.fixture
def proxy(new_database: NewDatabase) -> Iterator[Proxy]:
    with proxied(new_database()) as proxy:
        yield proxy


@pytest.fixture
def server(proxy: Proxy) -> Iterator[PostgresServer]:
    """With one connection."""
    server = PostgresServer("main", proxy.url, 1)
    server.open()
    assert server.first(ONE) == OneRow(1)
    yield server
    proxy.mend()
    server.close()


def test_after_a_busy_pool_a_request_waits_for_a_connection_again(server: PostgresServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        with server.transaction() as writer:
            with pytest.raises(UnavailableError):  # the only connection is taken for longer than one waits
                thread.submit(server.first, ONE).result(5)
            assert writer.first(ONE) == OneRow(1)  # but the server answers
            waiting = thread.submit(server.first, ONE)
            time.sleep(0.3)
        assert waiting.result(5) == OneRow(1)


def test_an_error_counts_as_an_answer(server: PostgresServer) -> None:
    wrong = Statement("wrong", text("SELECT 1 / 0 AS one"), OneRow)
    with ThreadPoolExecutor(1) as thread:
        with server.transaction(), pytest.raises(UnavailableError):
            thread.submit(server.first, ONE).result(5)
        with pytest.raises(InvalidError):
            server.first(wrong)
        with server.transaction():
            waiting = thread.submit(server.first, ONE)
            time.sleep(0.3)
        assert waiting.result(5) == OneRow(1)


def test_a_connection_that_hangs_in_a_transaction_is_closed(server: PostgresServer, proxy: Proxy) -> None:
    """No request waits for its rollback, which would hang as well, or gets it from the pool."""
    with suppress(UnavailableError), server.transaction() as writer:
        connection = writer._connection
        assert writer.first(ONE) == OneRow(1)
        proxy.hold()
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            writer.first(ONE)
        assert connection.closed
        with pytest.raises(UnavailableError):
            writer.first(ONE)
        assert time.monotonic() - started < 2 * ANSWER_SECONDS
        proxy.mend()
    assert connection.closed


def test_a_transaction_that_lost_its_connection_is_not_told_as_done(server: PostgresServer) -> None:
    """Even where whoever wrote took no notice of the error."""

    def take_no_notice() -> None:
        with server.transaction() as writer:
            writer._connection.close()

    with pytest.raises(UnavailableError):
        take_no_notice()


@pytest.mark.parametrize(
    "setting", ["idle_in_transaction_session_timeout = 100", "transaction_timeout = 100", "transaction_read_only = on"]
)
def test_a_transaction_that_the_server_ends_or_refuses_is_unavailable_and_its_connection_closed(
    server: PostgresServer, setting: str
) -> None:
    """It is not the app's mistake, and may succeed on another connection."""
    table = Statement("table", text("CREATE TABLE made (one int)"), OneRow)
    with suppress(UnavailableError), server.transaction() as writer:
        connection = writer._connection
        writer.all(Statement("set", text(f"SET LOCAL {setting}"), OneRow))
        time.sleep(0.5)
        with pytest.raises(UnavailableError):
            writer.all(table)
    assert connection.closed
    with server.transaction() as writer:
        writer.all(table)


def test_a_server_that_hung_is_used_again_when_it_answers(server: PostgresServer, proxy: Proxy) -> None:
    proxy.hold()
    with pytest.raises(UnavailableError):
        server.first(ONE)
    proxy.mend()
    until(lambda: _answers(server), "it is not used again", within=10)


def _answers(server: PostgresServer) -> bool:
    try:
        return server.first(ONE) == OneRow(1)
    except UnavailableError:
        return False


@pytest.fixture
def hosts(new_database: NewDatabase) -> Iterator[tuple[PostgresServer, Proxy, Proxy]]:
    """A server of two hosts, which it was connected to twice at the first; both take writes."""
    url = new_database()
    with proxied(url) as first, proxied(url) as second:
        server = PostgresServer("main", f"{first.url.rpartition('/')[0]},{second.url.partition('@')[2]}", 2)
        server.open()
        with server.transaction() as one, server.transaction() as two:
            assert one.first(ONE) == two.first(ONE) == OneRow(1)
        yield server, first, second
        first.mend()
        server.close()


@pytest.mark.parametrize("fault", ["cut", "hold"])
def test_where_the_primary_goes_away_another_host_is_found(
    hosts: tuple[PostgresServer, Proxy, Proxy], fault: str
) -> None:
    server, first, _ = hosts
    getattr(first, fault)()
    until(lambda: _answers(server), "no other host is used", within=10)
    assert all(_answers(server) for _ in range(20)), "connections to the former one are left"


def test_where_a_host_takes_no_writes_no_connection_to_it_stays(hosts: tuple[PostgresServer, Proxy, Proxy]) -> None:
    """All of them are to a former primary, which is a replica by now."""
    server, *_ = hosts
    before = _backends(server)
    with suppress(UnavailableError), server.transaction() as writer:
        writer.all(Statement("set", text("SET LOCAL transaction_read_only = on"), OneRow))
        writer.all(Statement("table", text("CREATE TABLE made (one int)"), OneRow))
    until(lambda: _answers(server), "it is not used again", within=10)
    assert len(before) == 2
    assert not before & _backends(server)


BACKEND = Statement("backend", text("SELECT pg_backend_pid() AS one"), OneRow)


def _backends(server: PostgresServer) -> set[OneRow | None]:
    with server.transaction() as one, server.transaction() as two:
        return {one.first(BACKEND), two.first(BACKEND)}
