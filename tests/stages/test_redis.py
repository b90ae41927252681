"""Redis as the stages start it: a cache that may forget, and a broker that may not."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conduit_testing.waiting import until

# The fixture ``redis`` is what builds the image where it is missing.
pytestmark = pytest.mark.usefixtures("redis")

PASSWORD = "of-these-tests"


@contextmanager
def _started(role: str) -> Iterator[str]:
    container = _docker(
        "run", "--detach", "--read-only", "--user", "1000:1000", "--cap-drop", "ALL", "--memory", "256m",
        "--tmpfs", "/data:uid=1000,gid=1000,mode=0700", "--tmpfs", "/run:uid=1000,gid=1000,mode=0700",
        "--env", f"REDISCLI_AUTH={PASSWORD}", "--label", "conduit.tests=redis", "conduit/redis",
        "start-redis", role,
    )  # fmt: skip
    try:
        _docker("exec", container, "sh", "-c", "until redis-cli -e ping 2>/dev/null; do sleep 0.1; done")
        yield container
    finally:
        _docker("rm", "--force", "--volumes", container)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def _setting(container: str, name: str, port: int = 6379) -> str:
    return _docker("exec", container, "redis-cli", "-p", str(port), "config", "get", name).partition("\n")[2]


def test_the_cache_forgets_what_is_read_seldom_and_keeps_nothing_on_disk() -> None:
    with _started("cache") as container:
        found = {name: _setting(container, name) for name in ("maxmemory-policy", "save", "appendonly", "maxmemory")}
        assert found == {
            "maxmemory-policy": "allkeys-lfu",
            "save": "",
            "appendonly": "no",
            "maxmemory": str(160 << 20),
        }


def test_a_cache_that_is_full_takes_no_room_from_the_limits() -> None:
    with _started("cache") as container:
        _docker("exec", container, "sh", "-c", "until redis-cli -p 6380 -e ping 2>/dev/null; do sleep 0.1; done")
        assert _setting(container, "maxmemory-policy", 6380) == "volatile-lru"
        assert _docker("exec", container, "redis-cli", "-p", "6380", "set", "counter", "9", "ex", "60") == "OK"
        fill = "for i in $(seq 200); do head -c 1000000 /dev/zero | redis-cli -x set key$i; done"
        _docker("exec", container, "sh", "-c", fill)
        evicted = _docker("exec", container, "sh", "-c", "redis-cli info stats | grep evicted_keys")
        assert int(evicted.partition(":")[2]) > 0
        assert _docker("exec", container, "redis-cli", "-p", "6380", "get", "counter") == "9"


def test_without_its_limits_the_cache_s_box_ends_to_be_started_again() -> None:
    with _started("cache") as container:
        _docker("exec", container, "sh", "-c", "until redis-cli -p 6380 -e ping 2>/dev/null; do sleep 0.1; done")
        _docker("exec", container, "sh", "-c", "redis-cli -p 6380 shutdown nosave || true")
        until(lambda: _docker("inspect", "-f", "{{.State.Running}}", container) == "false", "it runs on", within=10)


def test_the_broker_refuses_rather_than_forgets_and_writes_down_what_it_has() -> None:
    with _started("broker") as container:
        assert _setting(container, "maxmemory-policy") == "noeviction"
        assert _setting(container, "appendfsync") == "everysec"
        _docker("exec", container, "redis-cli", "lpush", "queue", "task")
        files = _docker("exec", container, "sh", "-c", "cat /data/appendonlydir/*.incr.aof")
        assert "task" in files


@pytest.mark.parametrize(("role", "port"), [("cache", 6379), ("cache", 6380), ("broker", 6379)])
def test_without_the_password_nothing_is_answered(role: str, port: int) -> None:
    with _started(role) as container:
        _docker("exec", container, "sh", "-c", f"until redis-cli -p {port} -e ping 2>/dev/null; do sleep 0.1; done")
        for password in ("", "another"):
            asked = ["exec", "--env", f"REDISCLI_AUTH={password}", container, "redis-cli", "-p", str(port), "get", "x"]
            assert "NOAUTH" in _docker(*asked), password


def test_it_does_not_start_without_a_password() -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "conduit/redis"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "REDISCLI_AUTH" in done.stderr
    assert "secrets/redis.env" in done.stderr
