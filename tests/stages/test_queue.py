"""`make stage4 queue`, and a stage with several boxes of one kind."""

import dataclasses
from typing import Any

import pytest

from infra.stage import backlog, checks, lifecycle, topology
from infra.stage.problems import Problem
from infra.stage.topology import Box, Topology
from tests.stages.test_bad_machines import GIB, engine

BOX = Box(0.25, GIB // 4)
STAGE = Topology(
    4,
    "conduit-stage4",
    {"app1": BOX, "app2": BOX, "worker": dataclasses.replace(BOX, count=2)},
    "app1",
    8000,
    8004,
    apps=("app1", "app2"),
    worker="worker",
)


def row(name: str, state: str = "running", health: str = "healthy") -> dict[str, Any]:
    service = name.rpartition("-")[0]
    return {"Name": f"conduit-stage4-{name}", "Service": service, "State": state, "Health": health}


ROWS = [row("app1-1"), row("app2-1"), row("worker-1"), row("worker-2")]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Compose says of stage 4's containers, which a test may change; the stage's commands are not run."""
    rows = list(ROWS)
    monkeypatch.setattr(topology, "read", lambda _: STAGE)
    for module in (backlog, lifecycle):
        monkeypatch.setattr(module, "compose_rows", lambda *_: rows)
    monkeypatch.setattr(lifecycle, "_meters", lambda _: {})
    return rows


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []

    def run(command: list[str]) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(backlog, "run", run)
    return commands


@pytest.mark.parametrize(("retry", "words"), [("", []), ("all", ["--retry", "all"]), ("x-1", ["--retry", "x-1"])])
def test_the_first_app_that_runs_is_asked(
    stage: list[dict[str, Any]], asked: list[list[str]], retry: str, words: list[str]
) -> None:
    assert backlog.show(4, retry) == 0
    stage[0] = row("app1-1", "exited", "")
    assert backlog.show(4, retry) == 0
    tail = ["python", "-m", "conduit", "queue", *words]
    assert [command[-len(tail) - 1 :] for command in asked] == [["app1", *tail], ["app2", *tail]]


def test_a_stage_that_is_down_says_how_to_start_it(stage: list[dict[str, Any]], asked: list[list[str]]) -> None:
    stage[:2] = []
    with pytest.raises(Problem, match=r"Stage 4 is not up\.\nStart it"):
        backlog.show(4, "")
    assert asked == []


def test_every_worker_must_be_well(stage: list[dict[str, Any]]) -> None:
    lifecycle.require_up(STAGE)
    stage[3] = row("worker-2", health="unhealthy")
    with pytest.raises(Problem, match="Stage 4 is not healthy: worker-2 is unhealthy"):
        lifecycle.require_up(STAGE)
    stage[3] = row("worker-2", "exited", "")
    assert not lifecycle.is_up(STAGE)


def test_every_worker_has_its_line(stage: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    lifecycle.status(4)
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:5]]
    assert shown == ["app1", "app2", "worker", "worker-2"]


def test_every_worker_needs_its_memory() -> None:
    many = dataclasses.replace(STAGE, boxes={"worker": dataclasses.replace(BOX, count=10)})
    with pytest.raises(Problem, match=r"2\.5 GiB for its boxes"):
        checks.memory(engine(memory=3 * GIB), many)
