"""``make bench-box``: which size of box suits this machine. QUICK=1 takes half an hour, without it almost two; with
CPU=0.1875 only boxes of that share are measured, which takes a third of that.

Boxes of several shares of a CPU, lengths of period, and on any core or on one each, beside a whole core. At stage 1
each candidate's ceiling is searched, then all are loaded at half of their own, in turn and in rounds. At stage 3, which
has six boxes, each is loaded near its ceiling and at three times that: how many busy boxes fit beside the generator?

Containers get another size without a start (``docker update``), so caches stay warm and turns are short; at the end
they have the size that is set. The balancer's bound stays that of the size that is set, too. Raw data go to
``runs/<time>-stage1-box``, as those of a ceiling do.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from infra.stage import engine, tools, topology
from infra.stage.problems import Problem
from loadtests.bench.box_figures import FULL_LOAD, HALF, OVERLOAD, table
from loadtests.ceiling.boxes import DockerUnreachableError, StageDownError
from loadtests.ceiling.drive import EmptyStageError
from loadtests.ceiling.live import Progress
from loadtests.ceiling.measure import Bench
from loadtests.ceiling.plan import QUICK, Plan
from loadtests.ceiling.record import RUNS, Run, now
from loadtests.ceiling.search import GUESSED_UTILISATION, Search
from loadtests.ceiling.sizes import kept, resize
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
from loadtests.ceiling.verdict import Outcome
from loadtests.load import mixes
from loadtests.process import ProcessError
from loadtests.shares.plan import order

MIX = "browse"
SIZE = "small"
ALONE, MANY = 1, 3
"""The stages: one box, and several that share the machine."""
# Stage 3 holds more than three times what stage 1 does; so much of it keeps its apps half busy.
PROBED = 2.0
OVERLOADED = 3.0


class Candidate(NamedTuple):
    """A size of box: CPUs, of which it has a part in each period, on any core or on one."""

    cpus: float
    period_ms: float
    one_core: bool = False

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.cpus:g} CPU, {self.period_ms:g} ms{', one core' if self.one_core else ''}"


WHOLE = Candidate(1.0, 10)
SHARES, PERIODS = (0.25, 0.1875, 0.125), (10, 20)
CANDIDATES = (
    WHOLE,
    *(Candidate(share, period, one_core) for one_core in (False, True) for share in SHARES for period in PERIODS),
)


def chosen(share: str) -> tuple[Candidate, ...]:
    """A whole core and the candidates of a share of a CPU, or all where it is empty. Raises Problem for another one."""
    if share in ("", *(f"{one:g}" for one in SHARES)):
        return tuple(one for one in CANDIDATES if one is WHOLE or share in ("", f"{one.cpus:g}"))
    raise Problem(
        f"CPU={share} is not among the shares that are measured.",
        f"There are: {', '.join(f'make bench-box CPU={one:g}' for one in SHARES)}",
        status=2,
    )


@dataclass(frozen=True)
class Times:
    """Seconds and rounds; ``search`` is how a candidate's ceiling is looked for."""

    mode: str
    search: Plan
    rounds: int
    half_seconds: float
    many_rounds: int
    many_seconds: float
    warmup: float


SHORT = Times(
    mode="quick",
    search=dataclasses.replace(
        QUICK,
        mode="short",
        probe_seconds=3,
        step_seconds=8,
        step_warmup=2,
        most_windows=1,
        resolution=1.3,
        confirm_seconds=12,
        confirm_warmup=2,
        precise=0.2,
        search_seconds=45,
    ),
    rounds=2,
    half_seconds=15,
    many_rounds=1,
    many_seconds=8,
    warmup=2,
)
LONG = Times("full", search=QUICK, rounds=5, half_seconds=25, many_rounds=2, many_seconds=15, warmup=4)


class Trials:
    """A stage whose boxes change their size, and the record: each trial says of which candidate it is."""

    def __init__(self, stage: int, rig: Rig, run: Run, progress: Progress) -> None:
        self._stage = stage
        self._run = run
        self._boxes = rig.boxes
        self._bench = Bench(rig, run, MIX, progress)
        self._progress = progress
        # In the order of the stage's file, as BOX_CORES has it.
        self._places = {name: place for place, name in enumerate(topology.read(stage).boxes)}
        self._candidate = WHOLE
        self._round: int | None = None

    def take(self, candidate: Candidate, place: int | None = None) -> None:
        """From now on the boxes are of this size, and trials are of the round at ``place``."""
        cores = int(self._boxes.info["NCPU"])
        for box in self._boxes.boxes:
            core = str(self._places[box.service] % cores)
            period = round(1000 * candidate.period_ms)
            resize(box.container, period, round(candidate.cpus * period), core if candidate.one_core else None, cores)
            box.quota = candidate.cpus
        self._candidate, self._round = candidate, place
        self._progress.say(f"Stage {self._stage}, {candidate.name}:")

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """As a search asks for it."""
        shown = self._bench.trial(phase, rate, seconds, warmup)
        of = {"stage": self._stage, "candidate": self._candidate.name, "round": self._round}
        self._run.data["trials"][-1] |= of
        return shown


def main(quick: bool, share: str = "") -> int:
    """Measure, keep and print; boxes of a ``share`` of a CPU, or of all.

    Returns the exit code: 0, 1 where it cannot be done, 130 interrupted. Raises Problem for what was typed.
    """
    candidates = chosen(share)
    interruptible()
    times = SHORT if quick else LONG
    run = Run(ALONE, "box")
    run.data |= {
        "kind": "box",
        "mode": times.mode,
        "settings": asdict(times) | NO_LIMITS,
        "candidates": [candidate._asdict() | {"name": candidate.name} for candidate in candidates],
        "ceilings": {},
    }
    code = 0
    try:
        for stage, measure in ((ALONE, _alone), (MANY, _many)):
            tools.build(stage)
            rig = ready(stage, SIZE)
            if stage == ALONE:
                run.data |= described(mixes.load(MIX), rig)
            with rig, kept(rig.boxes), Progress(f"Stage {stage}, boxes") as progress:
                measure(Trials(stage, rig, run, progress), candidates, times, run, rig, progress)
        run.data |= {"complete": True, "why_incomplete": None}
    except KeyboardInterrupt:
        run.data["why_incomplete"] = "interrupted"
        code = INTERRUPTED
    except StageCommandError:
        code = 1
    except (DockerUnreachableError, StageDownError, ProcessError, EmptyStageError) as error:
        run.data["why_incomplete"] = str(error)
        print(error, file=sys.stderr)
        code = 1
    run.data["ended"] = now()
    run.save()
    if run.data["trials"]:
        print(table(run.data))
    print(f"\nRaw data: {run.folder.relative_to(RUNS.parent)}/run.json")
    return code


def _alone(
    trials: Trials, candidates: Sequence[Candidate], times: Times, run: Run, _rig: Rig, progress: Progress
) -> None:
    """The ceiling of each, then windows at half of it."""
    for candidate in candidates:
        trials.take(candidate)
        run.data["ceilings"][candidate.name] = Search(trials.trial, times.search, progress.say).run().summary()
    for place, candidate in _turns(run, candidates, times.rounds):
        trials.take(candidate, place)
        trials.trial(HALF, _ceiling(run, candidate) / 2, times.half_seconds, times.warmup)


def _many(
    trials: Trials, candidates: Sequence[Candidate], times: Times, run: Run, rig: Rig, _progress: Progress
) -> None:
    """Half, full and three times of what each lets hope for."""
    warm(rig, times.search.warm_seconds)
    # So many whole cores there are not.
    for place, candidate in _turns(run, [one for one in candidates if one is not WHOLE], times.many_rounds):
        trials.take(candidate, place)
        rate = PROBED * _ceiling(run, candidate)
        shown = trials.trial("probe", rate, times.search.probe_seconds, times.warmup)
        full = shown.completed_rate * GUESSED_UTILISATION / min(1.0, shown.busiest or 1.0)
        for phase, share in ((HALF, 0.5), (FULL_LOAD, 1.0), (OVERLOAD, OVERLOADED)):
            trials.trial(phase, full * share, times.many_seconds, times.warmup)


def _turns(run: Run, candidates: Sequence[Candidate], rounds: int) -> list[tuple[int, Candidate]]:
    """Rounds of those that have a ceiling."""
    known = {candidate.name: candidate for candidate in candidates if _ceiling(run, candidate)}
    return [(place, known[name]) for place, name in order(list(known), rounds)]


def _ceiling(run: Run, candidate: Candidate) -> float:
    return float(run.data["ceilings"].get(candidate.name, {}).get("rate") or 0)


if __name__ == "__main__":
    try:
        engine.usable()
        parser = argparse.ArgumentParser(prog="make bench-box")
        parser.add_argument("--quick", action="store_true")
        parser.add_argument("--cpu", default="")
        options = parser.parse_args()
        sys.exit(main(options.quick, options.cpu))
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.status)
