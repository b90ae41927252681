"""What a stage's shards say of themselves: which node is the primary, how far its replica is behind, what they hold."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.stage import nginx
from infra.stage.topology import DIRECTORY, Topology

_CLUSTER = ("curl", "-fsS", "-m", "5", "http://127.0.0.1:8008/cluster")
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
           round(greatest(pg_current_wal_lsn() - restart_lsn, 0) / 1048576.0, 1)
    FROM pg_replication_slots ORDER BY slot_name
"""


@dataclass(frozen=True)
class Node:
    """One of a shard's nodes, as Patroni knows it: its ``lag`` in bytes, None where nobody knows."""

    name: str
    is_primary: bool
    state: str
    timeline: int | None
    lag: int | None


def told(stage: Topology) -> Iterator[str]:
    """A few lines for each shard of a stage that is sharded."""
    nodes_of = {name: nodes for name, nodes in stage.databases.items() if name != DIRECTORY}
    (directory,) = stage.databases[DIRECTORY]
    placed = dict(line.split("\t") for line in _asked(stage, directory, _MAP))
    if not placed:
        yield f"The map is not known: {directory} does not answer."
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
    for name, use, behind in (line.split("\t") for line in _asked(stage, primary, _SLOTS)):
        yield f"  slot {name}: {use}, holds {behind} MB of the log"


def _in_words(node: Node) -> str:
    at = f", timeline {node.timeline}" if node.timeline else ""
    if node.is_primary:
        return f"primary, {node.state}{at}"
    lag = "nobody knows how far behind" if node.lag is None else f"{node.lag / 1_048_576:.1f} MB behind"
    return f"replica, {node.state}{at}, {lag}"


def members(stage: Topology, names: tuple[str, ...]) -> list[Node]:
    """A shard's nodes by the first of them whose Patroni answers; empty where none does."""
    for name in names:
        said = nginx.inside(stage, name, *_CLUSTER)
        if said.returncode == 0:
            return [_node(member) for member in json.loads(said.stdout)["members"]]
    return []


def _node(member: Mapping[str, Any]) -> Node:
    lag = member.get("lag")
    return Node(
        member["name"],
        member["role"] in ("leader", "primary"),
        member["state"],
        member.get("timeline"),
        lag if isinstance(lag, int) else None,
    )


def _asked(stage: Topology, service: str, sql: str) -> list[str]:
    """The rows of a query in a box, as lines; none where it does not answer."""
    said = nginx.inside(stage, service, *_PSQL, sql)
    return said.stdout.splitlines() if said.returncode == 0 else []
