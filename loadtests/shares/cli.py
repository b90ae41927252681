"""`make stageN shares`: bring the stage up, load it with and without parts of a mix, say what each part takes."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.ceiling.boxes import DockerUnreachableError, StageDownError
from loadtests.ceiling.drive import EmptyStageError
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.stage import INTERRUPTED, NO_LIMITS, StageCommandError, described, interruptible, ready
from loadtests.load import mixes
from loadtests.process import ProcessError
from loadtests.report import shares as told
from loadtests.shares import figures
from loadtests.shares.measure import Trials
from loadtests.shares.plan import FULL, MIXES, QUICK, Plan

SIZE = "small"


def main(stage: int, mix: str = "pages", quick: bool = False, rate: float | None = None) -> int:
    """Measure the shares of a stage's CPU on a mix, at ``rate`` requests/s or where the busiest box is moderately busy.

    Returns the exit code: 0, 1 when it could not be measured, 130 interrupted.
    """
    if mix not in MIXES:
        return _complain(f"there are no parts to leave out of the mix '{mix}'; take one of {', '.join(MIXES)}")
    if rate is not None and not 0 < rate <= 10_000:
        return _complain(f"{rate:g} requests/s cannot be offered")
    interruptible()
    try:
        return _measure(stage, mixes.load(mix), (QUICK if quick else FULL)[mix], rate)
    except KeyboardInterrupt:
        print("Interrupted before anything was measured.", file=sys.stderr)
        return INTERRUPTED
    except (DockerUnreachableError, StageDownError, ProcessError, EmptyStageError) as error:
        return _complain(f"{error}\nWhat runs, and how it is: make stage{stage} status")
    except StageCommandError:
        return 1


def _measure(stage: int, mix: mixes.Mix, plan: Plan, rate: float | None) -> int:
    rig = ready(stage, SIZE)
    run = Run(stage, f"shares-{mix.name}")
    run.data |= described(mix, rig)
    run.data |= {"kind": "shares", "mode": plan.mode, "settings": plan.settings() | NO_LIMITS}
    code = 0
    with rig, Progress(f"Stage {stage}, shares of {mix.name}, {plan.mode}") as progress:
        trials = Trials(rig, run, mix.name, progress)
        try:
            trials.all(plan, mix.first_rate, rate)
            run.data |= {"complete": True, "why_incomplete": None}
        except KeyboardInterrupt:
            run.data["why_incomplete"] = "interrupted"
            code = INTERRUPTED
        except (ProcessError, DockerUnreachableError) as error:
            run.data["why_incomplete"] = str(error)
            code = 1
    run.data |= {
        "shares": figures.shares(run.data["trials"]),
        "journeys": figures.journeys(run.data["trials"]),
        "page_views": figures.page_views(run.data["trials"]),
        "ended": now(),
    }
    run.save()
    _print(run.data)
    path = run.folder / "run.json"
    print(f"Raw data: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return code


def _print(run: dict[str, Any]) -> None:
    console = Console(highlight=False)
    for head, rows in told.tables(run):
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in told.notes(run):
        console.print(note, markup=False, soft_wrap=True)


def _complain(text: str) -> int:
    print(text[0].upper() + text[1:], file=sys.stderr)
    return 1
