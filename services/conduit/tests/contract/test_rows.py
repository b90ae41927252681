"""The columns of every statement are its row's fields, by the description of a real server."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

import conduit
from conduit import list_queries
from conduit.statements import Statement
from conduit_testing.deployments import NewDatabase, migrated

# Parameters whose type the SQL leaves open: psycopg sends a timedelta as an interval.
_TYPES = {"older_than": psycopg.adapters.types["interval"].oid}
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


def _statements() -> Iterator[tuple[str, Statement[Any]]]:
    """All statements in the package's modules, and those of lists, which are made on first use."""
    for module in pkgutil.walk_packages(conduit.__path__, "conduit."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Statement):
                yield f"{module.name}.{name}", value
    for flags in product((False, True), repeat=5):
        given = dict(zip(("tag", "author", "favorited", "signed_in", "with_owner"), flags, strict=True))
        yield f"list_statement({given})", list_queries.list_statement(**given)


STATEMENTS = dict(_statements())


@pytest.fixture(scope="module")
def connection(new_database: NewDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(migrated(new_database), autocommit=True) as connection:
        yield connection


def _columns(connection: psycopg.Connection, sql: str) -> list[str]:
    """The names of a result's columns, which the server describes without running the statement."""
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return "%" if match[1] is None else f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    command = _PLACEHOLDER.sub(numbered, sql).encode()
    prepared = connection.pgconn.prepare(b"", command, [_TYPES.get(name, 0) for name in numbers])
    assert prepared.status == ExecStatus.COMMAND_OK, prepared.get_error_message()
    described = connection.pgconn.describe_prepared(b"")
    assert described.status == ExecStatus.COMMAND_OK, described.get_error_message()
    return [(described.fname(column) or b"").decode() for column in range(described.nfields)]


def test_the_statements_are_found() -> None:
    written = {name for name in STATEMENTS if not name.startswith("list_statement")}
    assert len(written) >= 50, sorted(written)
    modules = {name.rpartition(".")[0] for name in written}
    assert {"conduit.users", "conduit.writes", "conduit.queries", "conduit.adapters.database_postgres"} <= modules
    assert len(STATEMENTS) - len(written) == 32


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statements_columns_are_its_rows_fields(connection: psycopg.Connection, name: str) -> None:
    statement = STATEMENTS[name]
    assert _columns(connection, statement.sql) == statement.columns


def test_a_column_out_of_order_is_found(connection: psycopg.Connection) -> None:
    assert _columns(connection, "SELECT 1 AS b, %(x)s::int AS a, %(x)s::int %% 2 AS c") == ["b", "a", "c"]
    assert _columns(connection, "DELETE FROM users WHERE id = %(x)s") == []
