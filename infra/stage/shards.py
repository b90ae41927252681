"""What a stage's shards say of themselves: which node is the primary, how far its replica is behind, what they hold."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.stage import nginx
from infra.stage.topology import DIRECTORY, Topology

PATRONI = "http://127.0.0.1:8008"
ETCD = "etcd"
_PSQL = ("psql", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-XqAt", "-F", "\t", "-c")
_MAP = """
    SELECT server, string_agg(CASE upper(run) - lower(run) WHEN 1 THEN lower(run)::text
                              ELSE lower(run) || '-' || upper(run) - 1 END, ',' ORDER BY lower(run))
    FROM (SELECT server, unnest(range_agg(int4range(shard, shard, '[]'))) AS run
          FROM placements GROUP BY server) AS runs
    GROUP BY server
"""
_SLOTS = """
    SELECT slot_name, CASE WHEN active THEN 'in use' ELSE 'not in use' END,
           'holds ' || round(greatest(pg_current_wal_lsn() - restart_lsn, 0) / 1048576.0, 1) || ' MB of the log'
    FROM pg_replication_slots WHERE wal_status <> 'lost'
    UNION ALL SELECT slot_name, 'lost', 'its node was away for too long, and must be copied anew (docs/stage5.md)'
    FROM pg_replication_slots WHERE wal_status = 'lost' ORDER BY slot_name
"""


@dataclass(frozen=True)
class Node:
    """One of a shard's nodes, as Patroni knows it: its ``lag`` in bytes, None where nobody knows."""

    name: str
    is_primary: bool
    state: str
    timeline: int | None
    lag: int | None
    is_waited_for: bool = False
    """Whether a commit waits until it has it."""


def told(stage: Topology) -> Iterator[str]:
    """A few lines for each shard of a stage that is sharded."""
    nodes_of = {name: nodes for name, nodes in stage.databases.items() if name != DIRECTORY}
    (directory,) = stage.databases[DIRECTORY]
    placed = dict(line.split("\t") for line in asked(stage, directory, _MAP))
    if not placed:
        yield f"The map is not known: {directory} does not answer."
    if not etcd_answers(stage):
        yield "etcd does not answer: each primary goes on while it reaches its replica, and nobody can take over."
    for shard, names in nodes_of.items():
        held = f"logical shards {placed[shard]}" if shard in placed else "no logical shard"
        yield from _told(stage, names, f"{shard}: {held}" if placed else f"{shard}:")


def _told(stage: Topology, names: tuple[str, ...], head: str) -> Iterator[str]:
    nodes = members(stage, names)
    yield head
    if not nodes:
        yield "  None of its nodes says what it is."
    for node in nodes:
        yield f"  {node.name}: {_in_words(node)}"
    primary = next((node.name for node in nodes if node.is_primary), None)
    if primary is None:
        if nodes:
            yield "  No node is the primary: writes to it are refused until one is."
        return
    for name, use, holds in (line.split("\t") for line in asked(stage, primary, _SLOTS)):
        yield f"  slot {name}: {use}, {holds}"


def _in_words(node: Node) -> str:
    at = f", timeline {node.timeline}" if node.timeline else ""
    if node.is_primary:
        return f"primary, {node.state}{at}"
    lag = "nobody knows how far behind" if node.lag is None else f"{node.lag / 1_048_576:.1f} MB behind"
    kind = "synchronous replica" if node.is_waited_for else "replica"
    return f"{kind}, {node.state}{at}, {lag}"


def members(stage: Topology, names: tuple[str, ...]) -> list[Node]:
    """A shard's nodes by the first of them whose Patroni answers; without etcd, which knows the others, each by itself.

    Empty where none answers.
    """
    for name in names:
        said = nginx.inside(stage, name, *nginx.CURL, f"{PATRONI}/cluster")
        if said.returncode == 0:
            return [_node(member) for member in json.loads(said.stdout)["members"]]
    alone = ((name, nginx.inside(stage, name, *nginx.CURL, f"{PATRONI}/patroni")) for name in names)
    return [_node({"name": name} | json.loads(said.stdout)) for name, said in alone if said.returncode == 0]


def etcd_answers(stage: Topology) -> bool:
    """Whether a node can become the primary now."""
    return nginx.inside(stage, ETCD, "etcdctl", "endpoint", "health").returncode == 0


def can_take_over(stage: Topology, name: str) -> bool:
    """Whether a replica is there and not further behind than what Patroni makes a primary."""
    return nginx.inside(stage, name, *nginx.CURL, "-o", "/dev/null", f"{PATRONI}/replica?lag=32MB").returncode == 0


def _node(member: Mapping[str, Any]) -> Node:
    lag = member.get("lag")
    return Node(
        member["name"],
        member["role"] in ("leader", "primary"),
        member["state"],
        member.get("timeline"),
        lag if isinstance(lag, int) else None,
        member["role"] == "sync_standby",
    )


def asked(stage: Topology, service: str, sql: str) -> list[str]:
    """The rows of a query in a box, as lines; none where it does not answer."""
    said = nginx.inside(stage, service, *_PSQL, sql)
    return said.stdout.splitlines() if said.returncode == 0 else []
