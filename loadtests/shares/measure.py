"""The trials of a run, each recorded as soon as it has ended."""

from typing import Any

from loadtests.ceiling.live import Progress
from loadtests.ceiling.measure import seen
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.speed import Speeds
from loadtests.ceiling.stage import Rig
from loadtests.ceiling.verdict import outcome
from loadtests.observe.observer import ObserverError
from loadtests.observe.readings import Moment, of_host
from loadtests.shares import tasks
from loadtests.shares.figures import ALONE, IDLE, WHOLE
from loadtests.shares.plan import LEFT_OUT, MODERATE, OTHERS, Plan, order

PROBE = "probe "
# Nothing is at rest within seconds of a load; nor is a cold app what is measured.
_SETTLES_SECONDS = 3.0


class Trials:
    """A stage that is ready and the record: what trials are run on."""

    def __init__(self, rig: Rig, run: Run, mix: str, progress: Progress) -> None:
        self._generator = rig.generator
        self._boxes = rig.boxes
        self._observer = rig.observer
        self._speeds = Speeds()
        self._run = run
        self._mix = mix
        self._progress = progress

    def all(self, plan: Plan, first_rate: float, rate: float | None) -> None:
        """Every trial of the plan: at ``first_rate`` requests/s, which is light, and then at ``rate``.

        Where that is None, at the rate that keeps the busiest box moderately busy.
        """
        parts = list(LEFT_OUT[self._mix])
        idle = self.trial(IDLE, None, 0.0, plan.idle_seconds, _SETTLES_SECONDS)
        # What few people do weighs much: so that enough of them come, they are seen alone, and all else without them.
        alone = [self.trial(ALONE, None, first_rate, plan.alone_seconds, plan.warmup)] if plan.alone_seconds else []
        if rate is None:
            probe = self.trial(
                f"{PROBE}{parts[0]}" if alone else PROBE, None, first_rate, plan.probe_seconds, plan.warmup
            )
            rate = rate_for(MODERATE[self._mix], first_rate, idle, [probe, *alone])
        self._run.data["rate"] = rate
        for turn, variant in order([WHOLE, *parts], plan.rounds):
            self.trial(variant, turn, rate, plan.seconds, plan.warmup)

    def trial(self, variant: str, turn: int | None, rate: float, seconds: float, warmup: float) -> dict[str, Any]:
        """One trial, as it is recorded; those of a round, ``turn``, have the same arrivals."""
        without = self._left_out(variant)
        wanted = {
            "mix": self._mix,
            "seed": 1 if turn is None else 2 + turn,
            "warmup": warmup,
            "profile": [[seconds, rate]],
            "without": without,
        }
        self._progress.begin(f"without {variant}" if variant in LEFT_OUT[self._mix] else variant, rate)
        marks: dict[str, Moment] = {}
        began = now()
        # Telling its metrics costs an app CPU, which is kept out of the window. So what the apps count is of the
        # warm-up, too.
        before = self._observer.metrics()
        self._observer.seconds()  # those between two trials are nobody's

        def on_window(window: str) -> None:
            marks[window] = self._observer.read()

        def on_progress(progress: dict[str, Any]) -> None:
            self._progress.second(progress, seen(self._boxes, self._observer))

        result = self._generator.trial(wanted, on_window, on_progress)
        moments = self._observer.seconds()
        after = self._observer.metrics()
        if set(marks) != {"start", "end"}:
            raise ObserverError("the boxes' readings of a trial are missing")
        loads = self._boxes.between(marks["start"], marks["end"])
        self._speeds.tell(result)
        shown = outcome(result, rate, max(load.utilisation for load in loads.values()))
        # What is done once the load has ended is the load's.
        told = {
            box: tasks.cpus(before[box][1], after[box][1], warmup + seconds) for box in after if box in before
        }
        trial = {
            "variant": variant,
            "round": turn,
            "without": without,
            "rate": rate,
            "began": began,
            "valid": shown.valid,
            "limits": shown.limits(),
            "failures": shown.failures() if rate else [],
            "boxes": {name: load.record() for name, load in loads.items()},
            "host": of_host(marks["start"].host, marks["end"].host),
            "tasks": {box: {task: round(used, 6) for task, used in found.items()} for box, found in told.items()},
            "result": result,
        }
        self._run.add(trial, moments, marks)
        self._progress.end(shown, loads, judged=not shown.valid)
        return trial

    def _left_out(self, variant: str) -> list[str]:
        if variant == ALONE:
            return OTHERS[self._mix]
        return LEFT_OUT[self._mix].get(variant.removeprefix(PROBE), [])


def rate_for(moderate: float, first_rate: float, idle: dict[str, Any], probes: list[dict[str, Any]]) -> float:
    """Requests/s at which the first box is busy to a share of ``moderate``, to two figures.

    By what each of the probes, at ``first_rate``, uses more of it than nothing does: they add up to the whole mix.
    """
    rates = []
    for box, resting in idle["boxes"].items():
        rest = resting["utilisation"]
        a_request = sum(probe["boxes"][box]["utilisation"] - rest for probe in probes) / first_rate
        if a_request > 0:
            rates.append((moderate - rest) / a_request)
    return float(f"{max(1.0, min(rates, default=first_rate)):.2g}")
