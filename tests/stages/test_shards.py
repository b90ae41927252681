"""What is said of shards, and when a failover is refused: by what Patroni and the databases answer."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from infra.stage import failover, nginx, shards, topology
from infra.stage.problems import Problem
from infra.stage.topology import Topology
from tests.stages.sharded import STAGE

PRIMARY = {"name": "shard1a", "role": "leader", "state": "running", "timeline": 3}
REPLICA = {"name": "shard1b", "role": "replica", "state": "streaming", "timeline": 3, "lag": 3_145_728}
MAP = "shard1\t0-16,18-31\nshard2\t17,32-63\n"
SLOTS = "shard1b\tin use\tholds 0.1 MB of the log\n"

Answers = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Sets what each box answers: the map, and a shard's members by node; without any, a box does not answer."""

    def set_answers(
        members: dict[str, list[dict[str, Any]]], placed: str | None = MAP, etcd: bool = True, near: bool = True
    ) -> None:
        def inside(_stage: Topology, service: str, *command: str) -> "subprocess.CompletedProcess[str]":
            said: str | None = None
            if service == "etcd":
                said = "is healthy" if etcd else None
            elif command[-1].endswith("/cluster") and etcd and service in members:
                said = json.dumps({"members": members[service]})
            elif command[-1].endswith("/patroni") and service in members:
                said = json.dumps({key: value for key, value in members[service][0].items() if key != "name"})
            elif "/replica?lag=" in command[-1]:
                said = "" if near else None
            elif command[0] == "psql":
                said = placed if service == "directory" else SLOTS
            return subprocess.CompletedProcess(command, 0 if said is not None else 1, said or "", "no answer")

        monkeypatch.setattr(nginx, "inside", inside)

    return set_answers


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "read", lambda _number: STAGE)
    monkeypatch.setattr(failover, "answer", lambda command: pytest.fail(f"done: {command}"))


def test_status_says_what_each_node_is_and_holds(answers: Answers) -> None:
    answers({"shard1a": [PRIMARY, REPLICA]})
    assert list(shards.told(STAGE)) == [
        "shard1: logical shards 0-16,18-31",
        "  shard1a: primary, running, timeline 3",
        "  shard1b: replica, streaming, timeline 3, 3.0 MB behind",
        "  slot shard1b: in use, holds 0.1 MB of the log",
        "shard2: logical shards 17,32-63",
        "  None of its nodes says what it is.",
    ]


def test_status_says_what_nobody_knows(answers: Answers) -> None:
    lost = REPLICA | {"lag": "unknown", "state": "stopped"}
    answers({"shard1b": [lost]}, placed=None)
    assert list(shards.told(STAGE))[:4] == [
        "The map is not known: directory does not answer.",
        "shard1:",
        "  shard1b: replica, stopped, timeline 3, nobody knows how far behind",
        "  No node is the primary: writes to it are refused until one is.",
    ]


def test_without_etcd_each_node_is_asked_for_itself(answers: Answers) -> None:
    primary = {"role": "primary", "state": "running", "timeline": 3}
    replica = {"role": "replica", "state": "running", "timeline": 3}
    answers({"shard1a": [primary], "shard1b": [replica]}, etcd=False)
    assert list(shards.told(STAGE))[:4] == [
        "etcd does not answer: each primary goes on while it reaches its replica, and nobody can take over.",
        "shard1: logical shards 0-16,18-31",
        "  shard1a: primary, running, timeline 3",
        "  shard1b: replica, running, timeline 3, nobody knows how far behind",
    ]


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("verb", [failover.failover, failover.switchover])
@pytest.mark.parametrize(
    ("known", "said"),
    [({"etcd": False}, "etcd does not answer"), ({"near": False}, "away or too far behind")],
)
def test_who_cannot_take_over_now_is_not_asked_to(
    answers: Answers, verb: Callable[[int, str], None], known: dict[str, bool], said: str
) -> None:
    answers({"shard1a": [PRIMARY, REPLICA]}, **known)
    with pytest.raises(Problem, match=said):
        verb(5, "shard1")


def test_databases_are_found_by_their_labels_the_directory_first() -> None:
    labelled = {"shard2b": "shard2", "directory": "directory", "shard1a": "shard1", "shard2a": "shard2"}
    assert list(topology.databases(labelled).items()) == [
        ("directory", ("directory",)),
        ("shard1", ("shard1a",)),
        ("shard2", ("shard2a", "shard2b")),
    ]
    assert topology.databases({"db": "0-63"}) == {"0-63": ("db",)}


def test_tools_find_the_primary_among_a_shards_nodes() -> None:
    _, first, _ = STAGE.database_urls(by_container=True)
    assert first == (
        "shard1=postgresql://conduit@conduit-stage5-shard1a-1,conduit-stage5-shard1b-1/conduit"
        "?target_session_attrs=read-write"
    )
    assert STAGE.database_urls()[0] == "directory=postgresql://conduit@directory:5432/conduit"


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("verb", [failover.failover, failover.switchover])
@pytest.mark.parametrize(
    ("shard", "members", "said"),
    [
        ("", [PRIMARY, REPLICA], "Which shard.*Possible: shard1, shard2"),
        ("shard3", [PRIMARY, REPLICA], "no SHARD=shard3.*Possible: shard1, shard2"),
        ("directory", [PRIMARY, REPLICA], "no SHARD=directory"),
        ("shard1", [PRIMARY], "no replica that follows"),
        ("shard1", [PRIMARY, REPLICA | {"state": "starting"}], "no replica that follows"),
        ("shard1", [REPLICA], "no primary"),
        ("shard1", [], "no primary"),
    ],
)
def test_what_nobody_could_take_over_from_is_left_alone(
    answers: Answers, verb: Callable[[int, str], None], shard: str, members: list[dict[str, Any]], said: str
) -> None:
    answers({"shard1a": members})
    with pytest.raises(Problem, match=f"(?s){said}"):
        verb(5, shard)


def test_a_stage_without_replicas_says_which_one_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Topology(4, "conduit-stage4", {}, "cdn", 8000, 8004, {"0-63": ("db",)})
    monkeypatch.setattr(topology, "read", lambda _number: stage)
    with pytest.raises(Problem, match=r"(?s)Stage 4 has no replica.*make stage5 up"):
        failover.failover(4, "shard1")
