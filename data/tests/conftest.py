"""Databases for these tests, on the PostgreSQL that all tests share."""

import itertools
import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine

from conduit import models
from data.loading.placement import parse
from data.loading.progress import Reporter
from data.seed.command import seed
from data.seed.sizes import SIZES
from data.tests.support import DIGESTS

MakeDatabase = Callable[..., str]


@pytest.fixture(scope="session")
def make_database(postgres: str) -> Iterator[MakeDatabase]:
    """``make_database()`` gives the URL of a database with the schema; ``template`` copies another one's."""
    names: list[str] = []
    prefix, numbers = f"seed_test_{secrets.token_hex(3)}", itertools.count()

    def make(template: str | None = None, schema: bool = True) -> str:
        name = f"{prefix}_{next(numbers)}"
        _administer(postgres, name, "CREATE DATABASE {}", template)
        names.append(name)
        url = _with_database(postgres, name)
        if schema and template is None:
            _create_schema(url)
        return url

    yield make
    for name in reversed(names):
        _administer(postgres, name, "DROP DATABASE {} WITH (FORCE)", None)


def _administer(url: str, name: str, statement: str, template: str | None) -> None:
    query = sql.SQL(statement).format(sql.Identifier(name))
    if template is not None:
        source = str(conninfo_to_dict(template)["dbname"])
        query += sql.SQL(" TEMPLATE {}").format(sql.Identifier(source))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)


def _with_database(url: str, name: str) -> str:
    server, _, options = url.partition("?")
    return f"{server.rsplit('/', 1)[0]}/{name}" + (f"?{options}" if options else "")


def _create_schema(url: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        models.metadata.create_all(connection)
        connection.exec_driver_sql(models.NEXT_ID)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('1')")
    engine.dispose()


@pytest.fixture(scope="session")
def small_template(make_database: MakeDatabase) -> str:
    """A database with the small seed, to be copied and not to be written to."""
    url = make_database()
    with Reporter() as reporter:
        seed(SIZES["small"], [parse(f"0-63={url}")], DIGESTS, False, reporter)
    return url


@pytest.fixture
def small(make_database: MakeDatabase, small_template: str) -> str:
    """A database of this test's own with the small seed."""
    return make_database(template=small_template)


@pytest.fixture
def empty(make_database: MakeDatabase) -> str:
    """A database of this test's own with the schema and no rows."""
    return make_database()
