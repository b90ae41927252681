"""Boxes of another size for a while have their own again, whatever happens meanwhile."""

import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from loadtests.ceiling.boxes import DockerUnreachableError
from loadtests.ceiling.sizes import STOPS, kept, resize, whole_machine
from loadtests.ceiling.stage import Rig, interruptible, warm

OWN = (10_000, 1_250)


class Container:
    """Its size as Docker has it; ``attrs`` are those of before, as docker-py keeps them."""

    def __init__(self, name: str, cores: str = "") -> None:
        self.name = name
        self.attrs = {"HostConfig": {"CpuPeriod": OWN[0], "CpuQuota": OWN[1], "CpusetCpus": cores}}
        self.size = (*OWN, cores)
        self.on_update: Callable[[], object] = lambda: None

    def update(self, cpu_period: int, cpu_quota: int, cpuset_cpus: str) -> None:
        self.on_update()
        self.size = (cpu_period, cpu_quota, cpuset_cpus)


@pytest.fixture
def containers() -> list[Container]:
    return [Container("app"), Container("db", cores="1"), Container("lb")]


@pytest.fixture
def boxes(containers: list[Container]) -> Any:
    """Of a machine of four cores."""
    each = [SimpleNamespace(container=one) for one in containers]
    return SimpleNamespace(info={"NCPU": 4}, boxes=each, app_urls=lambda: ["http://app:8000"])


BACK = [(*OWN, "0-3"), (*OWN, "1"), (*OWN, "0-3")]


def test_caches_are_warmed_with_the_whole_machine_and_that_is_told(containers: list[Container], boxes: Any) -> None:
    seen: list[tuple[float, list[tuple[int, int, str]]]] = []

    def read(seconds: float, targets: list[str]) -> dict[str, Any]:
        assert targets == ["http://app:8000"]
        seen.append((seconds, [one.size for one in containers]))
        return {"sent": 7}

    generator: Any = SimpleNamespace(warm=read)
    observer: Any = None
    assert warm(Rig(boxes, observer, generator), 25) == {"sent": 7, "cpus": 4}
    assert seen == [(25, 3 * [(10_000, 40_000, "0-3")])]
    assert [one.size for one in containers] == BACK


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_is_raised_meanwhile(containers: list[Container], boxes: Any, error: type[BaseException]) -> None:
    with pytest.raises(error), whole_machine(boxes):
        raise error
    assert [one.size for one in containers] == BACK


def test_where_one_box_cannot_have_another_size_those_before_it_are_given_back_theirs(
    containers: list[Container], boxes: Any
) -> None:
    containers[2].on_update = _refuse
    with pytest.raises(DockerUnreachableError, match="lb cannot have another size"), whole_machine(boxes):
        pytest.fail("nothing is done with boxes of two sizes")
    assert [one.size for one in containers] == [*BACK[:2], (*OWN, "")]


def test_where_one_cannot_be_given_back_its_size_the_others_are(containers: list[Container], boxes: Any) -> None:
    with pytest.raises(DockerUnreachableError, match="app cannot have another size"), whole_machine(boxes):
        containers[0].on_update = _refuse
    assert [one.size for one in containers[1:]] == BACK[1:]


@pytest.mark.parametrize("stop", STOPS)
def test_who_presses_ctrl_c_once_more_waits_until_all_have_theirs(
    containers: list[Container], boxes: Any, stop: signal.Signals
) -> None:
    handlers = {one: signal.getsignal(one) for one in STOPS}
    interruptible()
    try:
        with pytest.raises(KeyboardInterrupt):
            _interrupted_meanwhile(containers, boxes, stop)
        assert [one.size for one in containers] == BACK
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(stop)
    finally:
        for one_stop, handler in handlers.items():
            signal.signal(one_stop, handler)


def _interrupted_meanwhile(containers: list[Container], boxes: Any, stop: signal.Signals) -> None:
    with kept(boxes):
        for one in containers:
            resize(one, 10_000, 2_500, None, 4)
            one.on_update = lambda: signal.raise_signal(stop)


def _refuse() -> None:
    raise APIError("no such cores")
