"""``python -m loadtests.bench.reads stage5``: what primaries answer, by themselves and together with their replicas.

The stage runs, has its dataset, and nobody uses it. The tools' container reads from it as fast as it answers
(``reading.py``): first only from the primaries, then also from their replicas, by turns, and the other way round in
every other round. The replicas run all the time: what they take to follow is not what is measured here.

The figures of each trial go to ``runs/<time>-reads/run.json``.
"""

import sys
from statistics import median
from typing import Any

from infra.stage import lifecycle, tools
from infra.stage.topology import DIRECTORY
from loadtests.bench import driven
from loadtests.bench.columns import aligned
from loadtests.bench.driven import cpu, rate
from loadtests.bench.rounds import Rounds, exit_of, sharded
from loadtests.experiments import rows
from loadtests.experiments.scene import CannotError

FORMS = (False, True)  # whether replicas are read
PINS = "redis://broker:6379/0"
HEAD = (
    "read from",
    "reads/s",
    "times the primaries alone",
    "p95, ms",
    "by replicas",
    "CPU of a primary",
    "CPU of a replica",
)


def main(words: list[str]) -> int:
    """Measure, print and keep. Returns the exit code; raises Problem and CannotError."""
    stage = sharded(words, "reads")
    lifecycle.require_up(stage)
    tools.build(stage.number)
    rounds = Rounds(stage, "reads")
    boxes = rounds.boxes
    shards = {name: nodes for name, nodes in stage.databases.items() if name != DIRECTORY}
    nodes = {
        "primary": [boxes[rows.primary(boxes, of_it)] for of_it in shards.values()],
        "replica": [boxes[rows.replica(boxes, of_it)] for of_it in shards.values()],
    }
    named = {role: [box.name for box in found] for role, found in nodes.items()}
    urls = [f"{name}=postgresql://conduit@{','.join(of_it)}/conduit" for name, of_it in shards.items()]
    told = ["--directory", f"postgresql://conduit@{DIRECTORY}/conduit", *(w for url in urls for w in ("--server", url))]
    rounds.run |= {"nodes": named}
    watched = [*nodes["primary"], *nodes["replica"]]
    for place, replicas in rounds.by_turns(FORMS):
        pins = ["--pins", PINS] if replicas else []
        said = driven.run(stage, "reading", "loadtests.bench.reading", [*told, *pins], watched)
        line = f"{_named(replicas):30} {rate(said):7.1f} reads/s"
        rounds.keep({"round": place, "replicas": replicas} | said, line)
    print(aligned(HEAD, figures(rounds.run)))
    print(rounds.kept)
    return 0


def _named(replicas: bool) -> str:
    return "primaries and replicas" if replicas else "primaries alone"


def figures(run: dict[str, Any]) -> list[list[str]]:
    """A row for each form, medians over the rounds. Ratios are of the rounds, each within itself, with the extremes."""
    alone = {one["round"]: rate(one) for one in run["trials"] if not one["replicas"]}
    found = []
    for replicas in FORMS:
        of_it = [one for one in run["trials"] if one["replicas"] == replicas]
        if not of_it:
            continue
        ratios = [rate(one) / alone[one["round"]] for one in of_it if one["round"] in alone]
        times = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "–"
        share = f"{median(_share(one) for one in of_it):.0f} %" if replicas else "–"
        found.append(
            [
                _named(replicas),
                f"{median(map(rate, of_it)):.0f}",
                times,
                f"{median(one['p95_ms'] for one in of_it):.0f}",
                share,
                *(f"{median(cpu(one, names) for one in of_it):.0f} ms/s" for names in run["nodes"].values()),
            ]
        )
    return found


def _share(trial: dict[str, Any]) -> float:
    """Of the calls that replicas may answer, those that they did, in percent."""
    return float(100 * trial["answered"].get("replica", 0) / sum(trial["answered"].values()))


if __name__ == "__main__":
    sys.exit(exit_of(main, CannotError))
