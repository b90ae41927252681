"""What status says of reads that replicas may answer, from what the apps have counted."""

import subprocess

import pytest

from infra.stage import nginx, replica_reads
from infra.stage.topology import Topology
from tests.stages.sharded import STAGE

METRICS = """\
# HELP conduit_replica_reads_total Database calls
# TYPE conduit_replica_reads_total counter
conduit_replica_reads_total{{by="replica",server="shard1"}} {0}
conduit_replica_reads_total{{by="behind",server="shard1"}} {1}
conduit_replica_reads_total{{by="away",server="shard1"}} 0.0
conduit_replica_reads_total{{by="replica",server="shard2"}} 0.0
# HELP conduit_replica_lag_seconds How old
# TYPE conduit_replica_lag_seconds gauge
conduit_replica_lag_seconds{{server="shard1"}} {2}
"""


@pytest.fixture
def apps_say(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    said: dict[str, str] = {}

    def inside(_stage: Topology, service: str, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 0 if service in said else 1, said.get(service, ""), "no answer")

    monkeypatch.setattr(nginx, "inside", inside)
    return said


def test_the_apps_counts_are_added_up_and_the_worst_lag_is_told(apps_say: dict[str, str]) -> None:
    apps_say |= {"app1": METRICS.format(90.0, 4.0, 0.26), "app3": METRICS.format(60.0, 6.0, 0.74)}
    assert list(replica_reads.told(STAGE)) == [
        "shard1: a replica answered 93.8 % of 160 reads that it may, at most 0.7 s old",
        "  the primary 6.2 %: the replica lacks what the reader must see",
    ]


def test_without_apps_nothing_is_told(apps_say: dict[str, str]) -> None:
    assert list(replica_reads.told(STAGE)) == []
