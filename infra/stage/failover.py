"""`make stage5 failover SHARD=shard1` and `switchover`: the replica becomes the primary, by force or in good order."""

import json
import time

from infra.stage import nginx, shards, topology
from infra.stage.problems import Problem
from infra.stage.shards import ETCD, PATRONI, Node
from infra.stage.shell import answer
from infra.stage.topology import DIRECTORY, Topology
from infra.stage.waiting import until

# The lease's 20 s (infra/patroni/patroni.yml), should it not be given back, and time to promote on a busy machine.
PROMOTED_WITHIN = 60
# A replica that can't be rewound is copied anew.
BACK_WITHIN = 180
PAUSE = 0.2
_LOOK = "How its nodes are: make stage5 status. What is down is started by: make stage5 up"
# Within the box, which has the password.
_POST = f'curl -sS -m 50 -u "patroni:$PATRONI_REPLICATION_PASSWORD" -d "$0" {PATRONI}/switchover'


def failover(number: int, shard: str) -> None:
    """Kill a shard's primary, delete its lease, and start it again as the replica.

    Raises Problem before anything is done where nobody could take over.
    """
    stage = topology.read(number)
    primary, replica = _pair(stage, shard)
    began = time.monotonic()
    _docker("kill", stage.container(primary.name))
    print(f"{shard}: {primary.name} is killed. Its lease would expire within 20 s; it is deleted now", flush=True)
    said = nginx.inside(stage, ETCD, "etcdctl", "del", f"/service/{shard}/leader")
    if said.returncode:
        print(f"{shard}: the lease could not be deleted, so {replica.name} waits for it to expire", flush=True)
    _wait_for_the_primary(stage, shard, replica, began)
    _docker("start", stage.container(primary.name))
    print(f"{shard}: {primary.name} is started again", flush=True)
    _wait_for_the_replica(stage, shard, primary)


def switchover(number: int, shard: str) -> None:
    """Have a shard's replica take over in good order: the primary stops when the replica has everything."""
    stage = topology.read(number)
    primary, replica = _pair(stage, shard)
    print(f"{shard}: {primary.name} stops taking writes when {replica.name} has all of them", flush=True)
    began = time.monotonic()
    wish = json.dumps({"leader": primary.name, "candidate": replica.name})
    said = nginx.inside(stage, primary.name, "sh", "-c", _POST, wish)
    if not said.stdout.startswith("Successfully"):
        raise Problem(f"{shard} was not switched over: {said.stdout.strip() or said.stderr.strip()}", _LOOK)
    _wait_for_the_primary(stage, shard, replica, began)
    _wait_for_the_replica(stage, shard, primary)


def _pair(stage: Topology, shard: str) -> tuple[Node, Node]:
    """A shard's primary, and the replica that can take over from it. Raises Problem where there are none."""
    names = [name for name in stage.databases if name != DIRECTORY]
    if not stage.is_sharded:
        what = f"Stage {stage.number} has no replica that could take over."
        raise Problem(what, "Stage 5 has: make stage5 up", status=2)
    if shard not in names:
        example = f"Possible: {', '.join(names)}. For example: make stage{stage.number} failover SHARD={names[0]}"
        raise Problem(f"There is no SHARD={shard}." if shard else "Which shard?", example, status=2)
    if not shards.etcd_answers(stage):
        raise Problem("etcd does not answer, so nobody could take over.", _LOOK)
    nodes = shards.members(stage, stage.databases[shard])
    primary = next((node for node in nodes if node.is_primary), None)
    replica = next((node for node in nodes if not node.is_primary and node.state == "streaming"), None)
    if primary is None or replica is None:
        lacks = "no primary" if primary is None else "no replica that follows"
        raise Problem(f"{shard} has {lacks}, so nobody could take over.", _LOOK)
    # What etcd knows of a node is up to 20 s old.
    if not shards.can_take_over(stage, replica.name):
        raise Problem(f"{replica.name} is away or too far behind, so nobody could take over.", _LOOK)
    return primary, replica


def _wait_for_the_primary(stage: Topology, shard: str, node: Node, began: float) -> None:
    def takes_writes() -> bool:
        return shards.asked(stage, node.name, "SELECT pg_is_in_recovery()") == ["f"]

    if not until(takes_writes, PROMOTED_WITHIN, PAUSE):
        raise Problem(f"{node.name} did not become {shard}'s primary within {PROMOTED_WITHIN} s.", _LOOK)
    print(f"{shard}: {node.name} takes writes, {time.monotonic() - began:.1f} s later", flush=True)


def _wait_for_the_replica(stage: Topology, shard: str, node: Node) -> None:
    began = time.monotonic()
    names = stage.databases[shard]

    def follows() -> bool:
        found = {member.name: member.state for member in shards.members(stage, names) if not member.is_primary}
        return found.get(node.name) == "streaming"

    if not until(follows, BACK_WITHIN, PAUSE):
        raise Problem(f"{node.name} does not follow {shard}'s primary after {BACK_WITHIN} s.", _LOOK)
    print(f"{shard}: {node.name} is its replica, {time.monotonic() - began:.0f} s later", flush=True)


def _docker(verb: str, container: str) -> None:
    said = answer(["docker", verb, container])
    if said.returncode:
        raise Problem(f"Docker could not {verb} {container}: {said.stderr.strip()}", "Check with: make doctor")
