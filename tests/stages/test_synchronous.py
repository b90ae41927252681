"""SYNC: what Patroni is told, and what is refused before anything is done."""

import json
import subprocess
from typing import Any

import pytest

from infra.stage import nginx, synchronous, topology
from infra.stage.problems import Problem
from infra.stage.topology import Topology
from tests.running import ROOT, environment
from tests.stages.compose_files import load

NODES = {"directory": ("directory",), "shard1": ("shard1a", "shard1b")}


def stage_with(sync: str) -> Topology:
    return Topology(5, "conduit-stage5", {}, "cdn", 8000, 8005, NODES, sync=sync)


class Patroni:
    """Of a shard whose first node is away: what it was told, and its configuration."""

    def __init__(self, config: dict[str, Any], obeys: bool = True) -> None:
        self.config, self.obeys = config, obeys
        self.told: list[dict[str, Any]] = []

    def inside(self, _stage: Topology, service: str, *command: str) -> "subprocess.CompletedProcess[str]":
        said = self._say(command) if service == "shard1b" else None
        return subprocess.CompletedProcess(command, 0 if said is not None else 1, said or "", "no answer")

    def _say(self, command: tuple[str, ...]) -> str:
        if command[0] == "sh":
            self.told.append(json.loads(command[-1]))
            self.config |= self.told[-1] if self.obeys else {}
            return ""
        if command[-1].endswith("/config"):
            return json.dumps(self.config)
        role = "sync_standby" if self.config.get("synchronous_mode") else "replica"
        nodes = [("shard1b", "leader", "running"), ("shard1a", role, "streaming")]
        return json.dumps({"members": [{"name": n, "role": r, "state": s, "timeline": 1} for n, r, s in nodes]})


ASYNCHRONOUS: dict[str, Any] = {"ttl": 20}
BOTH = ("synchronous_mode", "synchronous_mode_strict")


@pytest.mark.parametrize(
    ("before", "sync", "told"),
    [
        (ASYNCHRONOUS, "off", []),
        (ASYNCHRONOUS, "on", [(True, False)]),
        (ASYNCHRONOUS, "strict", [(True, True)]),
        ({"synchronous_mode": True}, "on", []),
        ({"synchronous_mode": True}, "off", [(False, False)]),
        ({"synchronous_mode": True, "synchronous_mode_strict": True}, "on", [(True, False)]),
        (ASYNCHRONOUS, "", []),
    ],
)
def test_patroni_is_told_what_is_new_to_it(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], sync: str, told: list[tuple[bool, bool]]
) -> None:
    patroni = Patroni({**before})
    monkeypatch.setattr(nginx, "inside", patroni.inside)
    synchronous.follow(stage_with(sync))
    assert [tuple(one[name] for name in BOTH) for one in patroni.told] == told


def test_a_shard_that_does_not_follow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "inside", Patroni({}, obeys=False).inside)
    monkeypatch.setattr(synchronous, "WITHIN", 0)
    with pytest.raises(Problem, match="shard1 does not follow SYNC=on"):
        synchronous.follow(stage_with("on"))


def test_a_shard_that_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "inside", lambda *_: subprocess.CompletedProcess((), 1, "", "no answer"))
    with pytest.raises(Problem, match="No node of shard1 says"):
        synchronous.follow(stage_with("on"))


def test_a_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(Problem, match=r"(?s)no SYNC=ON.*Possible: off, on, strict"):
        synchronous.check(stage_with("ON"))
    for sync in ("off", "on", "strict", ""):
        synchronous.check(stage_with(sync))


@pytest.mark.docker
@pytest.mark.parametrize(("number", "sync"), [(4, ""), (5, "off")])
def test_the_mode_is_what_compose_reads(number: int, sync: str) -> None:
    assert topology.read(number).sync == sync
    assert "x-sync" in load(ROOT / "docker-compose.stage5.yml")


@pytest.mark.docker
def test_the_environment_sets_it() -> None:
    command = ["docker", "compose", "-f", "docker-compose.stage5.yml", "config", "--format", "json"]
    env = environment() | {"SYNC": "strict"}
    said = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(said.stdout)["x-sync"] == "strict"
