"""A PostgreSQL for these tests: the one that TEST_DATABASE_URL names, else one started from local binaries."""

import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine

from conduit import models
from loadtests.loading.placement import parse
from loadtests.loading.progress import Reporter
from loadtests.seed.command import seed
from loadtests.seed.sizes import SIZES

MakeDatabase = Callable[..., str]


def _binaries() -> Path | None:
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return installed[-1].parent if installed else None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server whose user may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs TEST_DATABASE_URL or PostgreSQL's server binaries")
    # PostgreSQL refuses to run as root; its package brings a user of its own.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="seedpg-"))
    if user:
        shutil.chown(folder, user)

    def run(name: str, *arguments: str) -> None:
        command = [str(binaries / name), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    port = _free_port()
    options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
    run("initdb", "-A", "trust", "-U", "conduit", "-E", "UTF8", "--no-locale")
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://conduit@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_database(postgres_url: str) -> Iterator[MakeDatabase]:
    """``make_database()`` gives the URL of a database with the schema; ``template`` copies another one's."""
    names: list[str] = []
    prefix, numbers = f"seed_test_{secrets.token_hex(3)}", itertools.count()

    def make(template: str | None = None, schema: bool = True) -> str:
        name = f"{prefix}_{next(numbers)}"
        _administer(postgres_url, name, "CREATE DATABASE {}", template)
        names.append(name)
        url = _with_database(postgres_url, name)
        if schema and template is None:
            _create_schema(url)
        return url

    yield make
    for name in reversed(names):
        _administer(postgres_url, name, "DROP DATABASE {} WITH (FORCE)", None)


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
        seed(SIZES["small"], [parse(f"0-63={url}")], False, reporter)
    return url


@pytest.fixture
def small(make_database: MakeDatabase, small_template: str) -> str:
    """A database of this test's own with the small seed."""
    return make_database(template=small_template)


@pytest.fixture
def empty(make_database: MakeDatabase) -> str:
    """A database of this test's own with the schema and no rows."""
    return make_database()
