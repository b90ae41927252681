"""The hosts of a server's URL, in the order in which they are tried."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from conduit.postgres_hosts import Hosts

TWO = "postgresql://conduit@shard1a,shard1b/conduit?connect_timeout=3"


def test_one_host_is_asked_as_the_url_says() -> None:
    hosts = Hosts("postgresql://conduit@db:5433/conduit")
    hosts.found("db", 5433)
    assert not hosts.are_several
    assert conninfo_to_dict(hosts.conninfo()) == {"user": "conduit", "dbname": "conduit", "host": "db", "port": "5433"}


def test_of_several_the_one_that_takes_writes_is_looked_for() -> None:
    hosts = Hosts(TWO)
    assert hosts.are_several
    assert conninfo_to_dict(hosts.conninfo()) == {
        **{"user": "conduit", "dbname": "conduit", "connect_timeout": "3"},
        **{"host": "shard1a,shard1b", "port": "5432,5432", "target_session_attrs": "read-write"},
    }


@pytest.mark.parametrize(("found", "order"), [("shard1a", "shard1a,shard1b"), ("shard1b", "shard1b,shard1a")])
def test_the_last_primary_is_asked_first(found: str, order: str) -> None:
    hosts = Hosts(TWO)
    moved = [hosts.found(name, 5432) for name in ("shard1a", "shard1b", "shard1b", "shard1a")]
    assert moved == [False, True, False, True]
    hosts.found(found, 5432)
    assert conninfo_to_dict(hosts.conninfo())["host"] == order


def test_each_host_keeps_its_port() -> None:
    hosts = Hosts("postgresql://conduit@127.0.0.1:6001,127.0.0.1:6002/conduit")
    hosts.found("127.0.0.1", 6002)
    assert conninfo_to_dict(hosts.conninfo())["port"] == "6002,6001"


def test_its_text_has_no_password() -> None:
    assert Hosts("postgresql://conduit:secret@a,b:6000/conduit").text == "a:5432,b:6000"
    assert Hosts("postgresql://conduit:secret@db/conduit").text == "db:5432"
