"""The trials of a run, each recorded as soon as it has ended."""

from typing import Any

from loadtests.ceiling.boxes import Boxes, DockerUnreachableError, Glances, Reading
from loadtests.ceiling.drive import Generator
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.verdict import outcome
from loadtests.shares import tasks
from loadtests.shares.figures import ALONE, IDLE, WHOLE
from loadtests.shares.plan import LEFT_OUT, MODERATE, OTHERS, Plan, order

PROBE = "probe "
# Nothing is at rest within seconds of a load; nor is a cold app what is measured.
_SETTLES_SECONDS = 3.0


class Trials:
    """A generator, the boxes and the record: what trials are run on."""

    def __init__(self, generator: Generator, boxes: Boxes, run: Run, mix: str, progress: Progress) -> None:
        self._generator = generator
        self._boxes = boxes
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
        readings: dict[str, dict[str, Reading]] = {}
        metrics: dict[str, dict[str, tuple[float, str]]] = {}
        glances = Glances(self._boxes) if self._progress.watched else None
        began = now()

        def on_window(window: str) -> None:
            # Telling its metrics costs a box CPU, which is kept out of the window.
            if window == "start":
                metrics[window] = self._boxes.metrics()
            readings[window] = self._boxes.read()
            if window == "end":
                metrics[window] = self._boxes.metrics()

        def on_progress(progress: dict[str, Any]) -> None:
            self._progress.second(progress, glances.latest() if glances else {})

        result = self._generator.trial(wanted, on_window, on_progress)
        if set(readings) != {"start", "end"}:
            raise DockerUnreachableError("the boxes' readings of a trial are missing")
        loads = self._boxes.between(readings["start"], readings["end"])
        shown = outcome(result, rate, max(load.utilisation for load in loads.values()))
        told = {
            box: tasks.cpus(metrics["start"][box], metrics["end"][box])
            for box in metrics["end"]
            if box in metrics["start"]
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
            "tasks": {box: {task: round(used, 6) for task, used in found.items()} for box, found in told.items()},
            "result": result,
        }
        self._run.data["trials"].append(trial)
        self._run.save()
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
