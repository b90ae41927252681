"""Whether a shard's commits wait for its replica, as SYNC says: Patroni's synchronous_mode.

https://patroni.readthedocs.io/en/rel_4_0/replication_modes.html
"""

import json
from typing import Any

from infra.stage import nginx, shards
from infra.stage.problems import Problem
from infra.stage.shards import PATRONI
from infra.stage.topology import DIRECTORY, Topology
from infra.stage.waiting import until

_MODES = {
    "off": {"synchronous_mode": False, "synchronous_mode_strict": False},
    "on": {"synchronous_mode": True, "synchronous_mode_strict": False},
    "strict": {"synchronous_mode": True, "synchronous_mode_strict": True},
}
_IN_WORDS = {
    "off": "no commit waits for its replica",
    "on": "each commit waits for its replica, as long as there is one",
    "strict": "each commit waits for its replica, and without one there is none",
}
# Patroni looks every five seconds, and a new replica may have to be copied first.
WITHIN = 60
# Within the box, which has the password.
_PATCH = f'curl -fsS -m 5 -u "patroni:$PATRONI_REPLICATION_PASSWORD" -X PATCH -d "$0" {PATRONI}/config'


def check(stage: Topology) -> None:
    """Raises Problem for a SYNC that there is not."""
    if stage.sync and stage.sync not in _MODES:
        raise Problem(f"There is no SYNC={stage.sync}.", f"Possible: {', '.join(_MODES)}", status=2)


def follow(stage: Topology) -> None:
    """Have each shard do what SYNC says; returns when it does. Raises Problem where one does not."""
    if not stage.sync:
        return
    for shard, nodes in stage.databases.items():
        if shard != DIRECTORY and _tell(stage, shard, nodes):
            print(f"{shard}: {_IN_WORDS[stage.sync]}", flush=True)


def _tell(stage: Topology, shard: str, nodes: tuple[str, ...]) -> bool:
    """Whether the shard did something else before."""
    wanted = _MODES[stage.sync]
    known = next(((node, config) for node in nodes if (config := _config(stage, node)) is not None), None)
    if known is None:
        raise Problem(f"No node of {shard} says how it commits.", f"How they are: make stage{stage.number} status")
    node, config = known
    if all(bool(config.get(setting)) == value for setting, value in wanted.items()):
        return False
    said = nginx.inside(stage, node, "sh", "-c", _PATCH, json.dumps(wanted))
    if said.returncode:
        raise Problem(f"{shard} did not take SYNC={stage.sync}: {said.stderr.strip()}", "You can try it again.")
    if not until(lambda: _is_done(stage, nodes), WITHIN, 0.5):
        raise Problem(f"{shard} does not follow SYNC={stage.sync} after {WITHIN} s.", "You can try it again.")
    return True


def _is_done(stage: Topology, names: tuple[str, ...]) -> bool:
    waited_for = any(node.is_waited_for for node in shards.members(stage, names))
    return waited_for == (stage.sync != "off")


def _config(stage: Topology, node: str) -> dict[str, Any] | None:
    said = nginx.inside(stage, node, *nginx.CURL, f"{PATRONI}/config")
    if said.returncode:
        return None
    config: dict[str, Any] = json.loads(said.stdout)
    return config
