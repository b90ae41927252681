"""PostgreSQL and Redis for tests, each in a container that is removed afterwards."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg

ROOT = Path(__file__).resolve().parents[3]
_POSTGRES = "conduit/postgres"
_REMEDY = "run `make setup`, or set TEST_DATABASE_URL to a PostgreSQL role that may create databases"
# The stages' own PostgreSQL and configuration, except that nothing is synced to disk, every client is let in, and there
# are connections for the pools of several apps at once.
_START = """
set -eu
mkdir -p /run/postgresql
initdb -D /data/test --username=conduit --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 --auth=trust -N
echo 'host all all all trust' >>/data/test/pg_hba.conf
exec postgres -D /data/test -c config_file=/etc/conduit/postgresql.conf -c hba_file=/data/test/pg_hba.conf \
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200
"""
# A primary and its replica in one container. Commits are flushed, as where replicas are read; but not to a disk.
_START_PAIR = """
set -eu
mkdir -p /run/postgresql
serve() {
  postgres -D "/data/$1" -c config_file=/etc/conduit/postgresql.conf -c "hba_file=/data/$1/pg_hba.conf" -c "port=$2" \
    -c fsync=off -c full_page_writes=off -c max_connections=100
}
initdb -D /data/primary --username=conduit --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 --auth=trust -N
printf 'host all all all trust\nhost replication all all trust\n' >>/data/primary/pg_hba.conf
serve primary 5432 &
until pg_isready -q -h 127.0.0.1 -p 5432; do sleep 0.1; done
pg_basebackup -h 127.0.0.1 -p 5432 -U conduit -D /data/standby -R --checkpoint=fast --no-sync
while :; do serve standby 5433 || sleep 0.1; done
"""


class ContainerError(Exception):
    """A container did not start; the text says what to do."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server whose role may create databases: TEST_DATABASE_URL, else a new container.

    Raises ContainerError.
    """
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with _postgres_container(_START, 5432) as (_, (url,)):
        yield url


class Replicated(NamedTuple):
    """A primary and its replica, each by the URL of the database postgres. Their role may do everything."""

    primary: str
    standby: str
    container: str

    def restart_standby(self) -> None:
        """Stop it at once; its container starts it again."""
        docker("exec", self.container, "pg_ctl", "-D", "/data/standby", "stop", "-m", "immediate", "-W")


@contextmanager
def replicated_postgres() -> Iterator[Replicated]:
    """Raises ContainerError."""
    with _postgres_container(_START_PAIR, 5432, 5433) as (container, (primary, standby)):
        yield Replicated(primary, standby, container)


@contextmanager
def _postgres_container(start: str, *ports: int) -> Iterator[tuple[str, list[str]]]:
    """A container's id, and the URL of what it serves at each of the ports."""
    need_image(_POSTGRES, 2, "db")
    published = [word for port in ports for word in ("--publish", f"127.0.0.1::{port}")]
    container = docker(
        "run", "--detach", *published, "--user", "1000:1000",
        "--tmpfs", "/data:uid=1000,gid=1000,mode=0700", "--tmpfs", "/run:uid=1000,gid=1000", "--shm-size", "256m",
        "--label", "conduit.tests=postgres", _POSTGRES, "sh", "-c", start,
    )  # fmt: skip
    try:
        found = [docker("port", container, f"{port}/tcp").rpartition(":")[2] for port in ports]
        urls = [f"postgresql://conduit@127.0.0.1:{port}/postgres" for port in found]
        for url in urls:
            _wait_for_postgres(url, container)
        yield container, urls
    finally:
        docker("rm", "--force", "--volumes", container)


MEDIA_PASSWORD = "of-the-tests"


@contextmanager
def redis_server() -> Iterator[str]:
    """Host and port of a Redis with 1,000 databases, else as stage 3's cache: TEST_REDIS_ADDRESS or a new container.

    Raises ContainerError.
    """
    if address := os.environ.get("TEST_REDIS_ADDRESS"):
        yield address
        return
    need_image("conduit/redis", 3, "cache")
    container = docker(
        "run", "--detach", "--publish", "127.0.0.1::6379", "--user", "1000:1000", "--read-only",
        "--label", "conduit.tests=redis", "conduit/redis",
        "redis-server", "/etc/conduit/redis/cache.conf", "--databases", "1000",
    )  # fmt: skip
    try:
        address = docker("port", container, "6379/tcp")
        _wait_for_pong(address, container)
        yield address
    finally:
        docker("rm", "--force", "--volumes", container)


def need_image(image: str, stage: int, service: str) -> None:
    """Build an image as a service of a stage has it: in a second, where nothing has changed. Raises ContainerError."""
    if shutil.which("docker") is None:
        raise ContainerError(f"these tests need {image}, and Docker is not installed to run it: {_REMEDY}")
    command = ["docker", "compose", "-f", f"docker-compose.stage{stage}.yml", "build", service]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if built.returncode:
        raise ContainerError(f"the image {image} could not be built: {_REMEDY}\n{built.stderr[-2000:]}")


def docker(*arguments: str) -> str:
    """What ``docker`` prints. Raises ContainerError."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise ContainerError(f"docker {arguments[0]} failed: {done.stderr.strip()}\n{_REMEDY}")
    return done.stdout.strip()


def _wait_for_postgres(url: str, container: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"PostgreSQL in the test container did not start: {error}\n{docker('logs', container)}"
                ) from error
            time.sleep(0.2)
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
            raise ContainerError(f"Redis in the test container did not start:\n{docker('logs', container)}")
        time.sleep(0.1)
