"""The map of logical shards: written into the directory once, read from it by every app."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.shard_map import DirectoryMap, FixedMap
from conduit.errors import UnavailableError
from conduit.placement import place
from conduit_testing.deployments import NewDatabase, migrated
from conduit_testing.proxy import proxied

Names = list[str]


@pytest.fixture
def directory(new_database: NewDatabase) -> str:
    return migrated(new_database)


@pytest.fixture
def placed_on(directory: str) -> Iterator[Callable[..., Names]]:
    """The name of each logical shard's server, by a new app that knows these servers."""
    server = PostgresServer("directory", directory, 1)
    server.open()

    def names(*known: str) -> Names:
        servers = {name: PostgresServer(name, directory, 1) for name in known}
        return [server.server for server in DirectoryMap(server, servers).placed()]

    yield names
    server.close()


def test_a_new_site_gives_each_server_an_equal_run(directory: str, placed_on: Callable[..., Names]) -> None:
    place(directory, ["one", "two", "three"])
    assert placed_on("one", "two", "three") == ["one"] * 22 + ["two"] * 21 + ["three"] * 21


def test_what_is_placed_stays_where_it_is(directory: str, placed_on: Callable[..., Names]) -> None:
    place(directory, ["one", "two"])
    with psycopg.connect(directory) as connection:
        connection.execute("UPDATE placements SET server = 'two' WHERE shard = 5")
    place(directory, ["one", "two", "three"])
    assert placed_on("one", "two", "three") == ["one"] * 5 + ["two"] + ["one"] * 26 + ["two"] * 32


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM placements WHERE shard = 63", "DELETE FROM placements", "UPDATE placements SET server = 'gone'"],
    ids=["one is missing", "nothing is placed", "a server that the app does not know"],
)
def test_a_map_that_says_too_little_places_nothing(
    directory: str, placed_on: Callable[..., Names], change: str, caplog: pytest.LogCaptureFixture
) -> None:
    place(directory, ["one", "two"])
    with psycopg.connect(directory) as connection:
        connection.execute(change)
    with pytest.raises(UnavailableError):
        placed_on("one", "two")
    assert "the directory's map can't be used" in caplog.text


def test_an_app_that_started_without_the_directory_reads_the_map_when_it_is_there(directory: str) -> None:
    place(directory, ["one"])
    with proxied(directory) as proxy:
        proxy.cut()
        server, one = PostgresServer("directory", proxy.url, 1), PostgresServer("one", directory, 1)
        server.open()
        shard_map = DirectoryMap(server, {"one": one})
        with pytest.raises(UnavailableError):
            shard_map.placed()
        proxy.mend()
        for _ in range(20):
            try:
                assert set(shard_map.placed()) == {one}
            except UnavailableError:
                continue
            break
        proxy.cut()
        assert list(shard_map.placed()) == [one] * 64, "it is kept"
        server.close()


def test_a_fixed_map_places_every_logical_shard(directory: str) -> None:
    with pytest.raises(ValueError, match="all 64 logical shards, not 63"):
        FixedMap([PostgresServer("one", directory, 1)] * 63)
