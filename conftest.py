"""What every folder's tests share: the stage to test against, and a PostgreSQL server to make databases on."""

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import psycopg
import pytest
from psycopg import sql

NewDatabase = Callable[[], str]
NewRedis = Callable[[], str]

_IMAGE = "conduit/postgres"
_REMEDY = "run `make setup`, or set TEST_DATABASE_URL to a PostgreSQL role that may create databases"
# The stages' own PostgreSQL and configuration; only that nothing is kept, everyone is let in, and there is room for
# the pools of several apps at once.
_START = """
set -eu
mkdir -p /run/postgresql
initdb -D /data/test --username=conduit --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 --auth=trust -N
echo 'host all all all trust' >>/data/test/pg_hba.conf
exec postgres -D /data/test -c config_file=/etc/conduit/postgresql.conf -c hba_file=/data/test/pg_hba.conf \
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stage-url",
        default=os.environ.get("STAGE_URL"),
        help="run the API suite against this running stage instead of in this process (or set STAGE_URL)",
    )


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # The app's suites ask for a database by the deployment that they are given, which is no fixture's name here.
        of_the_app = item.nodeid.startswith("services/conduit/tests/") and "/unit/" not in item.nodeid
        if of_the_app or not {"postgres", "object_store", "redis"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("docker")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server whose role may create databases: TEST_DATABASE_URL, else a container."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    container = _start_container()
    try:
        port = _docker("port", container, "5432/tcp").rpartition(":")[2]
        url = f"postgresql://conduit@127.0.0.1:{port}/postgres"
        _wait_for(url, container)
        yield url
    finally:
        _docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """Host and port of a Redis that is a cache as at stage 3; only that it has more databases: a container."""
    _need_image("conduit/redis", 3, "cache")
    container = _docker(
        "run", "--detach", "--publish", "127.0.0.1::6379", "--user", "1000:1000", "--read-only",
        "--label", "conduit.tests=redis", "conduit/redis",
        "redis-server", "/etc/conduit/redis/cache.conf", "--databases", "1000",
    )  # fmt: skip
    try:
        address = _docker("port", container, "6379/tcp")
        _wait_for_pong(address, container)
        yield address
    finally:
        _docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def new_redis(redis: str) -> NewRedis:
    """Call it for the URL of a new, empty database of Redis."""
    numbers = count()
    return lambda: f"redis://{redis}/{next(numbers)}"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The URL of an empty place for files, as it is at stage 3: a container."""
    _need_image("conduit/nginx", 3, "media")
    configuration = os.path.join(os.path.dirname(__file__), "infra/nginx/rendered/stage3.media.conf")
    container = _docker(
        "run", "--detach", "--publish", "127.0.0.1::8080", "--user", "1000:1000", "--read-only",
        "--tmpfs", "/data:uid=1000,gid=1000,mode=0700", "--tmpfs", "/run:uid=1000,gid=1000",
        "--tmpfs", "/tmp:mode=1777",  # noqa: S108 - the container's own
        "--volume", f"{configuration}:/etc/nginx/nginx.conf:ro", "--label", "conduit.tests=media", "conduit/nginx",
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{_docker('port', container, '8080/tcp').rpartition(':')[2]}"
        _wait_for_answer(url, container)
        yield url
    finally:
        _docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Iterator[NewDatabase]:
    """Call it for the URL of a new, empty database; all of them are dropped when the tests are over."""
    made: list[str] = []
    with psycopg.connect(postgres, autocommit=True) as server:

        def make() -> str:
            name = f"test_{secrets.token_hex(6)}"
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            made.append(name)
            return f"{postgres.rpartition('/')[0]}/{name}"

        try:
            yield make
        finally:
            for name in made:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _need_image(image: str, stage: int, service: str) -> None:
    """Build an image as a service of a stage has it, unless it is there."""
    if shutil.which("docker") is None:
        pytest.fail(f"these tests need {image}, and Docker is not installed to run it: {_REMEDY}")
    if not _docker("images", "--quiet", image):
        command = ["docker", "compose", "-f", f"docker-compose.stage{stage}.yml", "build", service]
        built = subprocess.run(command, cwd=os.path.dirname(__file__), capture_output=True, text=True, check=False)
        if built.returncode:
            pytest.fail(f"the image {image} could not be built: {_REMEDY}\n{built.stderr[-2000:]}")


def _start_container() -> str:
    _need_image(_IMAGE, 2, "db")
    return _docker(
        "run", "--detach", "--publish", "127.0.0.1::5432", "--user", "1000:1000",
        "--tmpfs", "/data:uid=1000,gid=1000,mode=0700", "--tmpfs", "/run:uid=1000,gid=1000", "--shm-size", "256m",
        "--label", "conduit.tests=postgres", _IMAGE, "sh", "-c", _START,
    )  # fmt: skip


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"docker {arguments[0]} failed: {done.stderr.strip()}\n{_REMEDY}")
    return done.stdout.strip()


def _wait_for(url: str, container: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL in the test container did not start: {error}\n{_docker('logs', container)}")
            time.sleep(0.2)
        else:
            return


def _wait_for_answer(url: str, container: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=3).close()  # noqa: S310 - its scheme is http
        except urllib.error.HTTPError:
            return  # an answer like any other
        except OSError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"the test container does not answer: {error}\n{_docker('logs', container)}")
            time.sleep(0.1)
        else:
            return


def _wait_for_pong(address: str, container: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(64).startswith(b"+PONG"):
                return
        if time.monotonic() > deadline:
            pytest.fail(f"Redis in the test container did not start:\n{_docker('logs', container)}")
        time.sleep(0.1)
