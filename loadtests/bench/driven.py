"""Runs a module in the tools' container, and watches boxes meanwhile: from its word ``began`` to its word ``ended``."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra.stage.shell import compose
from infra.stage.stages import ROOT
from infra.stage.topology import Topology
from loadtests.bench.spent import cpu_ms
from loadtests.ceiling.boxes import Box
from loadtests.experiments.scene import CannotError

Trial = dict[str, Any]


def run(stage: Topology, what: str, module: str, words: Sequence[str], watched: Iterable[Box]) -> Trial:
    """What the module says, and the CPU ms that each box took meanwhile (``cpu_ms``, by the box's name).

    Raises CannotError.
    """
    boxes = list(watched)
    name = f"{stage.project}-{what}"
    command = ["run", "--rm", "--no-deps", "-T", "--name", name, "tools", "python", "-m", module, *words]
    moments: list[Mapping[str, float]] = []
    last = ""
    with subprocess.Popen(compose(stage.number, *command), cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                if line.strip() in ("began", "ended"):
                    moments.append(cpu_ms(boxes))
                last = line
        except BaseException:
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
            raise
    if child.returncode or len(moments) != 2:
        raise CannotError(f"The {what} did not finish; why is above.")
    before, after = moments
    spent = {box: round(after[box] - so_far, 1) for box, so_far in before.items()}
    figures: Trial = json.loads(last)
    return figures | {"cpu_ms": spent}


def rate(trial: Trial) -> float:
    """What was done a second, without what failed."""
    done = sum(count for kind, count in trial["kinds"].items() if kind != "failed")
    return float(done / trial["seconds"])


def cpu(trial: Trial, boxes: Iterable[str]) -> float:
    """Ms a second of one of these boxes, on average."""
    spent = [trial["cpu_ms"][box] for box in boxes]
    return float(sum(spent) / len(spent) / trial["seconds"])
