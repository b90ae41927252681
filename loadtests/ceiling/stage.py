"""A stage made ready to be measured: up without limits, loaded, with a generator beside it, and described."""

import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Any

from infra.stage import topology
from loadtests import mixes
from loadtests.ceiling.boxes import Boxes
from loadtests.ceiling.drive import EmptyStageError, Generator, command
from loadtests.ceiling.record import ROOT, machine

# The app's limits are not what is measured; the library still counts against these.
NO_LIMITS = {"LOGIN_LIMIT": "1000000/second", "WRITE_LIMIT": "1000000/second"}
INTERRUPTED = 130


class StageCommandError(Exception):
    """A command of the stage failed; it has said why itself."""


def ready(stage: int, size: str) -> tuple[Boxes, Generator]:
    """The boxes of a stage that is up, and a generator that has read its dataset, of ``size`` where it was empty.

    Raises StageCommandError, DockerUnreachableError, StageDownError, GeneratorError or EmptyStageError.
    """
    run("up", stage, "--same-apps")
    print(f"Its limits are off for this; to have them back: make stage{stage} up", file=sys.stderr)
    boxes = Boxes(topology.read(stage).project)
    return boxes, generator(stage, boxes, size)


def generator(stage: int, boxes: Boxes, size: str) -> Generator:
    """A generator with its dataset read; seeds the stage first when it is empty."""
    start = command(f"docker-compose.stage{stage}.yml", boxes.edge(), boxes.databases())
    try:
        return Generator(start, ROOT)
    except EmptyStageError:
        run("seed", stage, "--size", os.environ.get("SIZE") or size)
        return Generator(start, ROOT)


def described(mix: mixes.Mix, boxes: Boxes, generator: Generator) -> dict[str, Any]:
    """What a run's record says of what was measured, with what, and on what."""
    return {
        "mix": {"name": mix.name, "model": mix.model},
        "machine": machine(boxes.info, boxes.version),
        "boxes": [
            {
                "name": box.name,
                "role": box.role,
                "cpus": box.quota,
                "period_us": box.period_us,
                "memory": box.memory_limit,
                "settings": box.settings,
                "image": box.container.image.tags[:1],
            }
            for box in boxes.boxes
        ],
        "dataset": generator.ready["dataset"] | {"articles_sampled": generator.ready["articles_sampled"]},
        "generator": {"cpus": generator.ready["cpu"]},
    }


def run(verb: str, stage: int, *options: str) -> None:
    """A verb of the stage's own commands. Raises StageCommandError when it fails, having said why."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.stage", verb, f"stage{stage}", *options],
        cwd=ROOT,
        env=os.environ | NO_LIMITS,
        check=False,
    )
    if done.returncode:
        raise StageCommandError(verb)


def interruptible() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt, both explicitly: a shell starts what it puts in the background with
    SIGINT ignored.
    """
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
