"""`make stageN ceiling`: bring the stage up, load it, search, look beyond, write the report."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from loadtests import report
from loadtests.ceiling import counts, overload
from loadtests.ceiling.boxes import DockerUnreachableError, StageDownError
from loadtests.ceiling.drive import EmptyStageError
from loadtests.ceiling.explain import at_ceiling, explain, foretold
from loadtests.ceiling.live import Progress
from loadtests.ceiling.measure import Bench
from loadtests.ceiling.plan import FULL, QUICK, Plan
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.search import Search
from loadtests.ceiling.stage import (
    INTERRUPTED,
    NO_LIMITS,
    Rig,
    StageCommandError,
    described,
    interruptible,
    ready,
    warm,
)
from loadtests.ceiling.verdict import SLO_ACHIEVED, SLO_ERRORS, SLO_P95_MS
from loadtests.load import mixes
from loadtests.process import ProcessError
from loadtests.report import cache, words

SIZES = {"quick": "small", "full": "medium"}
# What is up but cannot be measured; the messages say why.
UNMEASURABLE = (DockerUnreachableError, StageDownError, ProcessError, EmptyStageError)


def main(stage: int, mix: str = "browse", quick: bool = False, strangers: bool = False) -> int:
    """Find the ceiling of a stage; for ``strangers``, who each open a connection, instead of people who come again.

    Returns the exit code: 0 with a ceiling, 3 without a verdict, 130 interrupted.
    """
    try:
        traffic = mixes.load(mix)
    except mixes.UnknownMixError as error:
        return _complain(str(error))
    if not traffic.steady:
        return _complain(
            f"the mix '{mix}' changes its rate, so it has no ceiling; take one of {', '.join(mixes.steady())}, "
            f"or watch it with: make stage{stage} load MIX={mix}"
        )
    interruptible()
    try:
        plan = dataclasses.replace(QUICK if quick else FULL, probe_rate=traffic.first_rate)
        return _measure(stage, traffic, plan, strangers)
    except KeyboardInterrupt:
        print("Interrupted before anything was measured.", file=sys.stderr)
        return INTERRUPTED
    except UNMEASURABLE as error:
        return _complain(f"{error}\nWhat runs, and how it is: make stage{stage} status")
    except StageCommandError:
        return 1


def _measure(stage: int, mix: mixes.Mix, plan: Plan, strangers: bool) -> int:
    rig = ready(stage, SIZES[plan.mode])
    run = Run(stage, mix.name)
    run.data |= described(mix, rig)
    run.data |= {
        "mode": plan.mode,
        "slo": {"p95_ms": SLO_P95_MS, "errors": SLO_ERRORS, "achieved": SLO_ACHIEVED},
        "settings": plan.settings() | NO_LIMITS,
        "strangers": strangers,
    }
    code = 0
    search = None
    with rig, Progress(f"Stage {stage}, {mix.name}, {plan.mode}") as progress:
        bench = Bench(rig, run, mix.name, progress, strangers)

        def foretell(passed: float) -> None:
            run.data["prediction"] = foretold(run.data["trials"], run.data["boxes"], passed, SLO_P95_MS)
            if said := words.foretold(run.data):
                progress.say(said)

        search = Search(bench.trial, plan, progress.say, foretell)
        try:
            if rig.boxes.caches():
                run.data["warmed"] = _warm(rig, plan, progress)
            found = search.run()
            run.data["ceiling"] = found.summary()
            if found.estimate is None:
                code = 3
            else:
                _beyond(bench, plan, found.estimate.rate, run)
                trials = run.data["trials"]
                run.data["demand"] = explain(trials, run.data["boxes"], run.data["prediction"], SLO_P95_MS)
                run.data["overload"] |= overload.of_capacity(run.data["overload"]["over"], run.data["demand"]["boxes"])
                run.data["a_request"] = counts.a_request(at_ceiling(trials))
                run.data["cache"] = counts.cache(at_ceiling(trials))
            run.data |= {"complete": True, "why_incomplete": None}
        except KeyboardInterrupt:
            run.data["why_incomplete"] = "interrupted"
            code = INTERRUPTED
        except (ProcessError, DockerUnreachableError) as error:
            run.data["why_incomplete"] = str(error)
            code = 1
    run.data["ceiling"] = search.found.summary()
    run.data["ended"] = now()
    run.save()
    path = report.write(run.folder)
    print(report.sentence(run.data))
    if of_cache := cache.text(run.data):
        print(of_cache)
    if remedy := words.remedy(run.data):
        print(remedy)
    print(f"Report: {_short(path)}\nRaw data: {_short(run.folder / 'run.json')}")
    return code


def _warm(rig: Rig, plan: Plan, progress: Progress) -> dict[str, Any]:
    progress.say(f"Warming the cache with the whole machine, for {plan.warm_seconds:.0f} s at most.")
    warmed = warm(rig, plan.warm_seconds)
    progress.say(words.warmed(warmed))
    return warmed


def _beyond(bench: Bench, plan: Plan, ceiling: float, run: Run) -> None:
    profile = overload.profile(ceiling, plan.overload_seconds, plan.recovery_seconds)
    _, result = bench.stretches("overload", profile, 0)
    run.data["overload"] = overload.judge(result, ceiling)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _complain(text: str) -> int:
    print(text[0].upper() + text[1:], file=sys.stderr)
    return 1
