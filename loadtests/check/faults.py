"""The faults that are caused while people write. Each begins, lasts and ends; a stage has those of its boxes."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from infra.stage import failover
from infra.stage.waiting import until
from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm, rows
from loadtests.experiments.scene import CannotError

LASTS_SECONDS = 8.0
# Enough for the broker to answer, too little for one more message.
FULL_BYTES = "1mb"
SHARDS = ("shard1", "shard2")
# A lease of 20 s, and a busy machine.
PROMOTED_WITHIN = 60.0

Boxes = Mapping[str, Box]
"""By service."""


@dataclass(frozen=True)
class Fault:
    """``cause`` does it to the boxes, and returns when it is over. ``needs`` are the services that it happens to."""

    key: str
    """What FAULT= names it."""
    name: str
    needs: tuple[str, ...]
    cause: Callable[[Boxes], None]
    hang_up: bool = False
    """Whether the writers do not wait for every answer."""
    may_lose: bool = False
    """Whether acknowledged writes may be lost, so that it is caused only if it is asked for."""

    def possible(self, services: Collection[str]) -> bool:
        return all(service in services for service in self.needs)


def _nothing(_boxes: Boxes) -> None:
    time.sleep(LASTS_SECONDS)


def _killed(service: str) -> Callable[[Boxes], None]:
    """Its process is killed; Docker starts the box again."""

    def cause(boxes: Boxes) -> None:
        harm.kill(boxes[service])
        time.sleep(LASTS_SECONDS)

    return cause


def _replica_killed(boxes: Boxes) -> None:
    """Not the primary: with asynchronous replication its last writes may be lost, and nobody promises otherwise."""
    _killed(_replica(boxes, "shard1"))(boxes)


def _replicas_paused(boxes: Boxes) -> None:
    """They receive everything and show nothing new: as behind as replicas can be."""
    replicas = [boxes[_replica(boxes, shard)] for shard in SHARDS]
    with ExitStack() as resumed:
        for replica in replicas:
            resumed.callback(rows.as_superuser, replica, "SELECT pg_wal_replay_resume()")
            rows.as_superuser(replica, "SELECT pg_wal_replay_pause()")
        time.sleep(LASTS_SECONDS)


def _switched_over(boxes: Boxes) -> None:
    failover.switchover(_stage(boxes), SHARDS[0])


def _failed_over(boxes: Boxes) -> None:
    failover.failover(_stage(boxes), SHARDS[0])


def _primary_dead(boxes: Boxes) -> None:
    """Nobody gives its lease back, so the replica waits until that expires."""
    primary, replica = _primary(boxes, SHARDS[0]), _replica(boxes, SHARDS[0])
    harm.leave_dead(boxes[primary])
    try:
        _wait_for_a_primary(boxes, replica)
    finally:
        harm.start(boxes[primary])


def _primary_frozen(boxes: Boxes) -> None:
    """When it is thawed it does not know yet that another one is the primary by now."""
    primary, replica = _primary(boxes, SHARDS[0]), _replica(boxes, SHARDS[0])
    with harm.frozen(boxes[primary]):
        _wait_for_a_primary(boxes, replica)


def _wait_for_a_primary(boxes: Boxes, service: str) -> None:
    if not until(lambda: rows.lines(boxes[service], rows.IS_REPLICA) == ["f"], PROMOTED_WITHIN, 0.5):
        raise CannotError(f"{service} was not promoted within {PROMOTED_WITHIN} s.")
    time.sleep(LASTS_SECONDS)


def _primary(boxes: Boxes, shard: str) -> str:
    return rows.primary(boxes, _nodes(shard))


def _replica(boxes: Boxes, shard: str) -> str:
    return rows.replica(boxes, _nodes(shard))


def _nodes(shard: str) -> tuple[str, str]:
    return f"{shard}a", f"{shard}b"


def _stage(boxes: Boxes) -> int:
    """The number of the stage that these are of."""
    (number,) = {int(box.labels["com.docker.compose.project"][-1]) for box in boxes.values()}
    return number


def _away(service: str) -> Callable[[Boxes], None]:
    def cause(boxes: Boxes) -> None:
        harm.stop(boxes[service])
        try:
            time.sleep(LASTS_SECONDS)
        finally:
            harm.start(boxes[service])

    return cause


def _flushed(boxes: Boxes) -> None:
    for _ in range(4):
        _redis(boxes["cache"], "-n", "0", "flushdb")
        time.sleep(LASTS_SECONDS / 4)


def _full(boxes: Boxes) -> None:
    """The broker has no memory left for messages."""
    limit = harm.inside(boxes["broker"], "redis-cli", "config", "get", "maxmemory").split()
    if len(limit) != 2:
        raise CannotError("The broker does not say how much memory it may use.")
    _redis(boxes["broker"], "config", "set", "maxmemory", FULL_BYTES)
    try:
        time.sleep(LASTS_SECONDS)
    finally:
        _redis(boxes["broker"], "config", "set", "maxmemory", limit[1])


def _redis(box: Box, *command: str) -> None:
    """Have a Redis do what it answers with OK. Raises CannotError where it does not."""
    said = harm.inside(box, "redis-cli", "-e", *command).strip()
    if said != "OK":
        raise CannotError(f"{box.name} did not do what it should ({' '.join(command)}): {said or 'no answer'}")


_SHARDED = tuple(node for shard in SHARDS for node in _nodes(shard))

FAULTS = (
    Fault("nothing", "nothing", (), _nothing),
    Fault("disconnects", "disconnects", (), _nothing, hang_up=True),
    Fault("kill-box", "box killed", ("box",), _killed("box")),
    Fault("kill-app", "app killed", ("app1",), _killed("app1")),
    Fault("kill-app", "app killed", ("app",), _killed("app")),
    Fault("kill-database", "database killed", ("db",), _killed("db")),
    Fault("kill-directory", "directory killed", ("directory",), _killed("directory")),
    Fault("kill-replica", "replica killed", _SHARDED, _replica_killed),
    Fault("pause-replica", "replicas paused", _SHARDED, _replicas_paused),
    Fault("switchover", "switchover", _SHARDED, _switched_over),
    Fault("etcd-down", "etcd away", ("etcd",), _away("etcd")),
    Fault("flush-cache", "cache flushed", ("cache",), _flushed),
    Fault("cache-down", "cache away", ("cache",), _away("cache")),
    Fault("media-down", "media away", ("media",), _away("media")),
    Fault("broker-full", "broker full", ("broker",), _full),
    Fault("broker-down", "broker away", ("broker",), _away("broker")),
    Fault("kill-worker", "worker killed", ("worker",), _killed("worker")),
    Fault("failover", "failover", _SHARDED, _failed_over, may_lose=True),
    Fault("kill-primary", "primary dead", _SHARDED, _primary_dead, may_lose=True),
    Fault("freeze-primary", "primary frozen", _SHARDED, _primary_frozen, may_lose=True),
)


def chosen(services: Collection[str], key: str) -> list[Fault]:
    """Those that a stage of these services has: the one that is named, or all that may lose nothing.

    Raises CannotError for a name that there is not.
    """
    possible = [fault for fault in FAULTS if fault.possible(services)]
    if not key:
        return [fault for fault in possible if not fault.may_lose]
    if found := [fault for fault in possible if fault.key == key]:
        return found
    raise CannotError(f"This stage has no FAULT={key}. Possible: {', '.join(fault.key for fault in possible)}")


def healthy(boxes: Boxes, within: float = 90.0) -> bool:
    """Wait until all boxes are. Whether they were in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(*harm.DOCKER_ERRORS):
            if all(harm.healthy(box) for box in boxes.values()):
                return True
        time.sleep(1)
    return False
