"""The faults that are caused while people write. Each begins, lasts and ends; a stage has those of its boxes."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm, rows
from loadtests.experiments.scene import CannotError

LASTS_SECONDS = 8.0
# Enough for the broker to answer, too little for one more message.
FULL_BYTES = "1mb"

Boxes = Mapping[str, Box]
"""By service."""


@dataclass(frozen=True)
class Fault:
    """``cause`` does it to the boxes, and returns when it is over. ``needs`` are the services that it happens to."""

    name: str
    needs: tuple[str, ...]
    cause: Callable[[Boxes], None]
    hang_up: bool = False
    """Whether the writers do not wait for every answer."""

    def possible(self, boxes: Boxes) -> bool:
        return all(service in boxes for service in self.needs)


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
    replicas = [name for name in ("shard1a", "shard1b") if rows.lines(boxes[name], rows.IS_REPLICA) == ["t"]]
    if not replicas:
        raise CannotError("shard1 has no replica that answers.")
    _killed(replicas[0])(boxes)


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


FAULTS = (
    Fault("nothing", (), _nothing),
    Fault("disconnects", (), _nothing, hang_up=True),
    Fault("box killed", ("box",), _killed("box")),
    Fault("app killed", ("app1",), _killed("app1")),
    Fault("app killed", ("app",), _killed("app")),
    Fault("database killed", ("db",), _killed("db")),
    Fault("directory killed", ("directory",), _killed("directory")),
    Fault("replica killed", ("shard1a", "shard1b"), _replica_killed),
    Fault("etcd away", ("etcd",), _away("etcd")),
    Fault("cache flushed", ("cache",), _flushed),
    Fault("cache away", ("cache",), _away("cache")),
    Fault("media away", ("media",), _away("media")),
    Fault("broker full", ("broker",), _full),
    Fault("broker away", ("broker",), _away("broker")),
    Fault("worker killed", ("worker",), _killed("worker")),
)


def healthy(boxes: Boxes, within: float = 90.0) -> bool:
    """Wait until all boxes are. Whether they were in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(*harm.DOCKER_ERRORS):
            if all(harm.healthy(box) for box in boxes.values()):
                return True
        time.sleep(1)
    return False
