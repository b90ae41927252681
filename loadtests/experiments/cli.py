"""`make stageN experiment WHAT=…`: bring the stage up, load it, do something to it, say what people noticed."""

import dataclasses
import importlib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.stage import topology
from loadtests.ceiling.boxes import DockerUnreachableError, StageDownError
from loadtests.ceiling.drive import EmptyStageError
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.stage import INTERRUPTED, NO_LIMITS, StageCommandError, described, interruptible, ready
from loadtests.experiments.plan import FULL, NAMES, QUICK, Plan
from loadtests.experiments.scene import CannotError, Scene
from loadtests.experiments.verdict import Verdict
from loadtests.load import mixes
from loadtests.process import ProcessError
from loadtests.report import experiment

SIZE = "small"
FAILED, NO_VERDICT = 1, 3
# An experiment is a module of its name, unless the standard library has that name.
MODULES = {"queue": "worker_queue"}


def main(stage: int, what: str, quick: bool = False, rate: float | None = None) -> int:
    """Do an experiment on a stage, at ``rate`` requests/s where it is given.

    Returns the exit code: 0 where what the stage promises held, 1 where it did not or the experiment cannot be done, 3
    without a verdict, 130 interrupted.
    """
    if what not in NAMES:
        return _complain(f"there is no experiment '{what}'; there are: {', '.join(NAMES)}")
    interruptible()
    plan = (QUICK if quick else FULL)[what]
    try:
        return _do(stage, what, dataclasses.replace(plan, rate=rate or plan.rate))
    except KeyboardInterrupt:
        print("Interrupted before anything was done.", file=sys.stderr)
        return INTERRUPTED
    except (CannotError, DockerUnreachableError, StageDownError, ProcessError, EmptyStageError) as error:
        return _complain(f"{error}\nWhat runs, and how it is: make stage{stage} status")
    except StageCommandError:
        return FAILED


def _do(stage: int, what: str, plan: Plan) -> int:
    rig = ready(stage, SIZE)
    console = Console(file=sys.stderr, highlight=False)
    verdict, code = None, FAILED
    with rig:
        run = Run(stage, f"experiment-{what}")
        run.data |= described(mixes.load(plan.mix), rig)
        run.data |= {"kind": "experiment", "experiment": what, "mode": plan.mode}
        run.data["settings"] = plan.settings() | NO_LIMITS
        scene = Scene(
            topology.read(stage), rig, run, lambda text: console.print(text, markup=False, soft_wrap=True)
        )
        seconds = f", {plan.seconds:.0f} s of {plan.mix} at {plan.rate:g} requests/s" if plan.seconds else ""
        scene.say(f"Stage {stage}, experiment {what}, {plan.mode}{seconds}")
        try:
            verdict = importlib.import_module(f"loadtests.experiments.{MODULES.get(what, what)}").run(scene, plan)
            run.data |= {"complete": True, "why_incomplete": None, "verdict": verdict.record()}
            code = {True: 0, False: FAILED, None: NO_VERDICT}[verdict.held]
        except KeyboardInterrupt:
            run.data["why_incomplete"] = "interrupted"
            code = INTERRUPTED
        except (CannotError, ProcessError, DockerUnreachableError) as error:
            run.data["why_incomplete"] = str(error)
            print(error, file=sys.stderr)
    run.data["ended"] = now()
    run.save()
    if verdict is not None:
        _print(verdict)
        if note := experiment.note(run.data):
            print(note)
        print(f"Report: {_short(experiment.write(run.folder))}")
    print(f"Raw data: {_short(run.folder / 'run.json')}")
    return code


def _print(verdict: Verdict) -> None:
    table = Table(show_header=False)
    for name, value in verdict.facts:
        table.add_row(name, value)
    Console(highlight=False).print(table)
    print(f"{experiment.WORDS[verdict.held]}: {verdict.sentence}")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _complain(text: str) -> int:
    print(text[0].upper() + text[1:], file=sys.stderr)
    return FAILED
