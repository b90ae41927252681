"""``python -m loadtests.bench.writes stage5``: what writes one primary takes, and two, alone and with their replicas.

The stage runs, and nobody uses it. On each shard's primary a database of its own is made, and removed at the end. The
tools' container writes to one shard's or to both as fast as they take it (``writing.py``); the replicas run, or are
stopped. By turns: each round has all four forms, and every other one has them the other way round.

The figures of each trial go to ``runs/<time>-writes/run.json``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from infra.stage import lifecycle, tools
from infra.stage.topology import DIRECTORY, Topology
from infra.stage.waiting import until
from loadtests.bench import driven
from loadtests.bench.columns import aligned
from loadtests.bench.driven import cpu, rate
from loadtests.bench.rounds import Rounds, exit_of, sharded
from loadtests.ceiling.boxes import Box
from loadtests.experiments import harm, rows
from loadtests.experiments.scene import CannotError

DATABASE = "bench"
FOLLOWS_WITHIN = 120.0
# (how many shards, whether they have their replicas)
FORMS = ((1, False), (2, False), (2, True), (1, True))
HEAD = (
    "primaries",
    "replicas",
    "writes/s",
    "times one alone",
    "p95, ms",
    "commits/s",
    "syncs/s",
    "CPU of a primary",
    "CPU of a replica",
)


def main(words: list[str]) -> int:
    """Measure, print and keep. Returns the exit code; raises Problem and CannotError."""
    stage = sharded(words, "writes")
    lifecycle.require_up(stage)
    tools.build(stage.number)
    rounds = Rounds(stage, "writes")
    shards = _Shards(stage, rounds.boxes)
    with shards.databases():
        for place, (servers, replicated) in rounds.by_turns(FORMS):
            shards.have_replicas(replicated)
            said = shards.write(servers)
            line = f"{_named(servers, replicated):32} {rate(said):7.1f} writes/s"
            rounds.keep({"round": place, "primaries": servers, "replicated": replicated} | said, line)
    print(aligned(HEAD, figures(rounds.trials)))
    print(rounds.kept)
    return 0


def _named(servers: int, replicated: bool) -> str:
    primaries = "one primary" if servers == 1 else f"{servers} primaries"
    return f"{primaries}, {'with replicas' if replicated else 'alone'}"


class _Shards:
    """The shards of a stage, and which of their nodes is what."""

    def __init__(self, stage: Topology, boxes: dict[str, Box]) -> None:
        self._stage = stage
        self._nodes = {name: nodes for name, nodes in stage.databases.items() if name != DIRECTORY}
        self._primaries = {shard: boxes[rows.primary(boxes, nodes)] for shard, nodes in self._nodes.items()}
        self._replicas = {shard: boxes[rows.replica(boxes, nodes)] for shard, nodes in self._nodes.items()}
        self._have_replicas = True

    @contextmanager
    def databases(self) -> Iterator[None]:
        """One of its own on each primary meanwhile. The replicas run afterwards."""
        try:
            for primary in self._primaries.values():
                rows.as_superuser(primary, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
                rows.as_superuser(primary, f"CREATE DATABASE {DATABASE} OWNER conduit")
            yield
        finally:
            self.have_replicas(True)
            for primary in self._primaries.values():
                rows.as_superuser(primary, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")

    def have_replicas(self, wanted: bool) -> None:
        """Stop the replicas, or start them and wait until they follow."""
        if wanted == self._have_replicas:
            return
        for replica in self._replicas.values():
            (harm.start if wanted else harm.stop)(replica)
        self._have_replicas = wanted
        if wanted and not until(self._all_follow, FOLLOWS_WITHIN):
            raise CannotError(f"The replicas do not follow after {FOLLOWS_WITHIN:.0f} s.")

    def _all_follow(self) -> bool:
        return all(rows.lines(primary, rows.FOLLOWED) == ["t"] for primary in self._primaries.values())

    def write(self, servers: int) -> dict[str, Any]:
        """What ``writing.py`` says, and the CPU that each node took meanwhile, in ms a second."""
        names = list(self._nodes)[:servers]
        urls = [f"{name}=postgresql://conduit@{','.join(self._nodes[name])}/{DATABASE}" for name in names]
        words = [word for url in urls for word in ("--server", url)]
        nodes = {
            "primary": [self._primaries[name] for name in names],
            "replica": [self._replicas[name] for name in names] if self._have_replicas else [],
        }
        watched = [*nodes["primary"], *nodes["replica"]]
        said = driven.run(self._stage, "writing", "loadtests.bench.writing", words, watched)
        return said | {"nodes": {role: [box.name for box in boxes] for role, boxes in nodes.items()}}


def figures(trials: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each form, medians over the rounds. Ratios are of the rounds, each within itself, with the extremes."""
    alone = {one["round"]: rate(one) for one in trials if _form(one) == (1, False)}
    found = []
    for form in ((1, False), (1, True), (2, False), (2, True)):
        of_it = [one for one in trials if _form(one) == form]
        if not of_it:
            continue
        ratios = [rate(one) / alone[one["round"]] for one in of_it if one["round"] in alone]
        times = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "–"
        found.append(
            [
                str(form[0]),
                "running" if form[1] else "stopped",
                f"{median(map(rate, of_it)):.0f}",
                times,
                f"{median(one['p95_ms'] for one in of_it):.0f}",
                f"{median(_a_second(one, 'commits') for one in of_it):.0f}",
                f"{median(_a_second(one, 'syncs') for one in of_it):.0f}",
                f"{median(cpu(one, one['nodes']['primary']) for one in of_it):.0f} ms/s",
                f"{median(cpu(one, one['nodes']['replica']) for one in of_it):.0f} ms/s" if form[1] else "–",
            ]
        )
    return found


def _form(trial: dict[str, Any]) -> tuple[int, bool]:
    return trial["primaries"], trial["replicated"]


def _a_second(trial: dict[str, Any], what: str) -> float:
    """Of all primaries together."""
    return float(sum(server[what] for server in trial["servers"].values()) / trial["seconds"])


if __name__ == "__main__":
    sys.exit(exit_of(main, CannotError))
