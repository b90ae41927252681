"""A stage made ready to be measured: up without limits, loaded, with a generator beside it, and described."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

from infra.stage import topology
from loadtests.ceiling.boxes import Boxes
from loadtests.ceiling.drive import EmptyStageError, Generator, command, container
from loadtests.ceiling.record import ROOT, machine
from loadtests.ceiling.sizes import whole_machine
from loadtests.load import mixes
from loadtests.observe.observer import Observer

# The app's limits are not what is measured; the library still counts against these.
NO_LIMITS = {"LOGIN_LIMIT": "1000000/second", "WRITE_LIMIT": "1000000/second"}
INTERRUPTED = 130


class StageCommandError(Exception):
    """A command of the stage failed; it has said why itself."""


@dataclass
class Rig:
    """A stage's boxes, what observes them and what sends load; as a context manager it ends the last two."""

    boxes: Boxes
    observer: Observer
    generator: Generator

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self.generator.close()
        self.observer.close()


def ready(stage: int, size: str) -> Rig:
    """A stage that is up, observed, and with a generator that has read its dataset, of ``size`` where it was empty.

    Raises StageCommandError, DockerUnreachableError, StageDownError, ObserverError, GeneratorError or EmptyStageError.
    """
    run("up", stage, "--same-apps")
    print(f"Its limits are off for this; to have them back: make stage{stage} up", file=sys.stderr)
    boxes = Boxes(topology.read(stage).project)
    watching = observer(stage, boxes)
    try:
        return Rig(boxes, watching, generator(stage, boxes, size))
    except BaseException:
        watching.close()
        raise


def observer(stage: int, boxes: Boxes) -> Observer:
    """What observes a stage's boxes, watching them. Raises ObserverError, DockerUnreachableError or StageDownError."""
    watching = Observer(container(f"docker-compose.stage{stage}.yml", "observer"), ROOT)
    try:
        watching.watch(boxes.pids(), boxes.metrics_urls())
    except BaseException:
        watching.close()
        raise
    return watching


def generator(stage: int, boxes: Boxes, size: str) -> Generator:
    """A generator with its dataset read; seeds the stage first when it is empty."""
    start = command(f"docker-compose.stage{stage}.yml", boxes.edge(), boxes.databases())
    try:
        return Generator(start, ROOT)
    except EmptyStageError:
        run("seed", stage, "--size", os.environ.get("SIZE") or size)
        return Generator(start, ROOT)


def dataset(stage: int, size: str) -> dict[str, Any]:
    """What is in a stage that is up: ``dataset`` and ``seeded`` as a run's record has them. Seeds it where it is empty.

    Raises StageCommandError, DockerUnreachableError, StageDownError, GeneratorError or EmptyStageError.
    """
    reader = generator(stage, Boxes(topology.read(stage).project), size)
    reader.close()
    return {"dataset": reader.ready["dataset"], "seeded": reader.ready.get("seeded")}


def warm(rig: Rig, seconds: float) -> dict[str, Any]:
    """Fill the stage's caches, for so many seconds at most, while each box may use all cores: boxes of their own size
    would take minutes. They have that again when this returns or raises.

    Returns what ``warming.warm`` does, and ``cpus``, how many each box had. Raises GeneratorError or
    DockerUnreachableError.
    """
    with whole_machine(rig.boxes) as cores:
        return rig.generator.warm(seconds, rig.boxes.app_urls()) | {"cpus": cores}


def described(mix: mixes.Mix, rig: Rig) -> dict[str, Any]:
    """What a run's record says of what was measured, with what, and on what."""
    boxes, ready = rig.boxes, rig.generator.ready
    return {
        "mix": {"name": mix.name, "model": mix.model},
        "machine": machine(boxes.info, boxes.version, rig.observer.machine),
        "boxes": [
            {
                "name": box.name,
                "role": box.role,
                "background": box.is_background,
                "cpus": box.quota,
                "period_us": box.period_us,
                "one_core": box.one_core,
                "memory": box.memory_limit,
                "settings": box.settings,
                "image": box.container.image.tags[:1],
            }
            for box in boxes.boxes
        ],
        "dataset": ready["dataset"] | {"articles_sampled": ready["articles_sampled"]},
        "seeded": ready.get("seeded"),
        "generator": {"cpus": ready["cpu"]},
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
