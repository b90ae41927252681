"""``python -m loadtests.bench.reads stage5``: what primaries answer, by themselves and together with their replicas.

The stage runs, has its dataset, and nobody uses it. The tools' container reads from it as fast as it answers
(``reading.py``): first only from the primaries, then also from their replicas, by turns, and the other way round in
every other round. The replicas run all the time: what they take to follow is not what is measured here.

The figures of each trial go to ``runs/<time>-reads/run.json``.
"""

import datetime as dt
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from infra.stage import lifecycle, tools, topology
from infra.stage.problems import Problem
from infra.stage.topology import DIRECTORY
from loadtests.bench import driven
from loadtests.bench.columns import aligned
from loadtests.bench.driven import cpu, rate
from loadtests.ceiling.boxes import Boxes
from loadtests.ceiling.record import commit, machine
from loadtests.experiments import rows
from loadtests.experiments.scene import CannotError

ROUNDS = 5
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
    if len(words) != 1:
        raise Problem("Whose reads are to be measured?", "Say: make stage5 bench-reads", status=2)
    number = int(words[0].removeprefix("stage"))
    stage = topology.read(number)
    if not stage.is_sharded:
        raise Problem(f"Stage {number} has no replicas.", "Stage 5 has: make stage5 bench-reads", status=2)
    lifecycle.require_up(stage)
    tools.build(number)
    all_boxes = Boxes(stage.project)
    boxes = {box.service: box for box in all_boxes.boxes}
    shards = {name: nodes for name, nodes in stage.databases.items() if name != DIRECTORY}
    nodes = {
        "primary": [boxes[rows.primary(boxes, of_it)] for of_it in shards.values()],
        "replica": [boxes[rows.replica(boxes, of_it)] for of_it in shards.values()],
    }
    named = {role: [box.name for box in found] for role, found in nodes.items()}
    urls = [f"{name}=postgresql://conduit@{','.join(of_it)}/conduit" for name, of_it in shards.items()]
    told = ["--directory", f"postgresql://conduit@{DIRECTORY}/conduit", *(w for url in urls for w in ("--server", url))]
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-reads"
    folder.mkdir(parents=True)
    trials: list[dict[str, Any]] = []
    raw = {"stage": number, "commit": commit(), "machine": machine(all_boxes.info, all_boxes.version)}
    raw |= {"quota": all_boxes.capacity(), "nodes": named, "trials": trials}
    for place in range(ROUNDS):
        for replicas in FORMS if place % 2 == 0 else FORMS[::-1]:
            pins = ["--pins", PINS] if replicas else []
            watched = [*nodes["primary"], *nodes["replica"]]
            said = driven.run(stage, "reading", "loadtests.bench.reading", [*told, *pins], watched)
            trials.append({"round": place, "replicas": replicas} | said)
            (folder / "run.json").write_text(json.dumps(raw, indent=1) + "\n")
            print(f"round {place + 1}  {_named(replicas):30} {rate(said):7.1f} reads/s", flush=True)
    print(aligned(HEAD, figures(raw)))
    print(f"\nRaw data: {folder / 'run.json'}")
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
    try:
        sys.exit(main(sys.argv[1:]))
    except (Problem, CannotError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(getattr(problem, "status", 1))
