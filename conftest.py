"""What every folder's tests share: the stage to test against, and servers to make databases on."""

import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from conduit_testing.containers import (
    MEDIA_PASSWORD,
    ContainerError,
    Replicated,
    docker,
    need_image,
    postgres_server,
    redis_server,
    replicated_postgres,
)

if TYPE_CHECKING:
    from conduit_testing.deployments import NewDatabase

NewRedis = Callable[[], str]

REDIS_DATABASES = 1_000
IN_CONTAINERS = {"postgres", "replicated", "object_store", "redis"}  # fixtures
# Other limits than that of pyproject.toml, by marker: the first that a test has.
TIMEOUTS = {"long": 3_600, "stage": 900, "realtime": 300}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stage-url",
        default=os.environ.get("STAGE_URL"),
        help="run the API suite against this running stage instead of in this process (or set STAGE_URL)",
    )
    parser.addoption("--deployment", help='run the API suite in this process on one only, such as "one server, cached"')


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # The app's suites ask for a database by the deployment that they are given, which is no fixture's name here.
        of_the_app = item.nodeid.startswith("services/conduit/tests/") and "/unit/" not in item.nodeid
        if of_the_app or not IN_CONTAINERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("docker")
        if item.get_closest_marker("timeout") is None:
            for marker, seconds in TIMEOUTS.items():
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.timeout(seconds))
                    break


@contextmanager
def _failing_without_a_container() -> Iterator[None]:
    try:
        yield
    except ContainerError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server whose role may create databases: TEST_DATABASE_URL, else a container."""
    with _failing_without_a_container(), postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def replicated() -> Iterator[Replicated]:
    """A PostgreSQL with a replica."""
    with _failing_without_a_container(), replicated_postgres() as pair:
        yield pair


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """Host and port of a Redis as stage 3's cache, with more databases: TEST_REDIS_ADDRESS, else a container."""
    with _failing_without_a_container(), redis_server() as address:
        yield address


@pytest.fixture(scope="session")
def new_redis(redis: str) -> NewRedis:
    """Call it for the URL of a new, empty database of Redis."""
    host, _, port = redis.rpartition(":")

    def make() -> str:
        # Redis itself counts, because several processes of tests may share it.
        with Redis(host=host, port=int(port)) as server:
            number = server.incr("databases given out") % (REDIS_DATABASES - 1) + 1
        with Redis(host=host, port=int(port), db=number) as server:
            server.flushdb()
        return f"redis://{redis}/{number}"

    return make


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The URL of an empty place for files, as it is at stage 3: a container."""
    configuration = os.path.join(os.path.dirname(__file__), "infra/nginx/rendered/stage3.media.conf")
    with _failing_without_a_container():
        need_image("conduit/nginx", 3, "media")
        container = docker(
            "run", "--detach", "--publish", "127.0.0.1::8080", "--user", "1000:1000", "--read-only",
            "--tmpfs", "/data:uid=1000,gid=1000,mode=0700", "--tmpfs", "/run:uid=1000,gid=1000",
            "--tmpfs", "/tmp:mode=1777",  # noqa: S108 - the container's own
            "--volume", f"{configuration}:/etc/nginx/nginx.conf:ro", "--label", "conduit.tests=media",
            "--env", f"MEDIA_PASSWORD={MEDIA_PASSWORD}", "conduit/nginx", "start-media",
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{docker('port', container, '8080/tcp').rpartition(':')[2]}"
            _wait_for_answer(url, container)
            yield url
        finally:
            docker("rm", "--force", "--volumes", container)


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Iterator["NewDatabase"]:
    """Call it for the URL of a new database, empty or a copy of another; all are dropped when the tests are over."""
    made: list[str] = []
    with psycopg.connect(postgres, autocommit=True) as server:

        def make(template: str = "template0") -> str:
            name = f"test_{secrets.token_hex(6)}"
            names = (sql.Identifier(name), sql.Identifier(template))
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
            made.append(name)
            return f"{postgres.rpartition('/')[0]}/{name}"

        try:
            yield make
        finally:
            for name in made:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _wait_for_answer(url: str, container: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=3).close()  # noqa: S310 - its scheme is http
        except urllib.error.HTTPError:
            return  # an answer like any other
        except OSError as error:
            if time.monotonic() > deadline:
                pytest.fail(f"the test container does not answer: {error}\n{docker('logs', container)}")
            time.sleep(0.1)
        else:
            return
