"""Boxes of another size for a while: containers get it without a start (``docker update``), and have their own again
whatever happens meanwhile. What a command that was killed could not give back, the next ``up`` does
(infra/stage/leftovers.py).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from docker.errors import DockerException

from loadtests.ceiling.boxes import Boxes, DockerUnreachableError

PERIOD_US = 10_000
STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def kept(boxes: Boxes) -> Iterator[None]:
    """Whatever size the boxes have within, they have that of before after it. Raises DockerUnreachableError where one
    cannot be given it back, after all others were.
    """
    sizes = [(box.container, box.container.attrs["HostConfig"]) for box in boxes.boxes]
    try:
        yield
    finally:
        with _undisturbed():
            _give_back(sizes, int(boxes.info["NCPU"]))


@contextmanager
def whole_machine(boxes: Boxes) -> Iterator[int]:
    """Within, each box may use all cores, whose number this gives. Raises DockerUnreachableError."""
    cores = int(boxes.info["NCPU"])
    with kept(boxes):
        for box in boxes.boxes:
            resize(box.container, PERIOD_US, cores * PERIOD_US, None, cores)
        yield cores


def resize(container: Any, period: int, quota: int, core: str | None, cores: int) -> None:
    """In µs; without a core it runs on all of them, which Docker has no other word for. Raises
    DockerUnreachableError.
    """
    try:
        container.update(cpu_period=period, cpu_quota=quota, cpuset_cpus=core or f"0-{cores - 1}")
    except (DockerException, OSError) as error:
        raise DockerUnreachableError(f"{container.name} cannot have another size: {error}") from error


def _give_back(sizes: list[tuple[Any, dict[str, Any]]], cores: int) -> None:
    failed: DockerUnreachableError | None = None
    for container, host in sizes:
        try:
            resize(container, host["CpuPeriod"], host["CpuQuota"], host.get("CpusetCpus") or None, cores)
        except DockerUnreachableError as error:
            failed = error
    if failed:
        raise failed


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C, or what ``interruptible`` takes as one, comes at the end. Blocking the signals would not do:
    another thread would get them, and this one hears of it.
    """
    came: list[int] = []
    before = {stop: signal.signal(stop, lambda number, _frame: came.append(number)) for stop in STOPS}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
        if came:
            signal.raise_signal(came[0])
