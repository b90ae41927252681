"""The trials of a run, each recorded as soon as it has ended."""

from typing import Any

from loadtests.ceiling.boxes import Boxes, DockerUnreachableError, Reading
from loadtests.ceiling.drive import Generator
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.verdict import Outcome, outcome
from loadtests.shares import tasks
from loadtests.shares.figures import ALONE, IDLE, WHOLE
from loadtests.shares.plan import LEFT_OUT, MODERATE, OTHERS, Plan, order

PROBE = "probe"
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
        """Every trial of the plan, at ``rate`` requests/s, or at what keeps the busiest box moderately busy."""
        moderate = MODERATE[self._mix]
        warm = self.trial(PROBE, None, first_rate, plan.probe_seconds, plan.warmup)
        if rate is None:
            # The first try may be far below, where what a box does at rest weighs as much as the load.
            near = first_rate * moderate / (warm.busiest or moderate)
            seen = self.trial(PROBE, None, near, plan.probe_seconds, plan.warmup)
            rate = _plain(near * moderate / (seen.busiest or moderate))
        self._run.data["rate"] = rate
        self.trial(IDLE, None, 0.0, plan.idle_seconds, _SETTLES_SECONDS)
        for turn, variant in order([WHOLE, *LEFT_OUT[self._mix]], plan.rounds):
            self.trial(variant, turn, rate, plan.seconds, plan.warmup)
        if plan.alone_seconds:
            self.trial(ALONE, None, rate, plan.alone_seconds, plan.warmup)

    def trial(self, variant: str, turn: int | None, rate: float, seconds: float, warmup: float) -> Outcome:
        """One trial; those of a round, ``turn``, have the same arrivals."""
        without = OTHERS[self._mix] if variant == ALONE else LEFT_OUT[self._mix].get(variant, [])
        wanted = {
            "mix": self._mix,
            "seed": 1 if turn is None else 2 + turn,
            "warmup": warmup,
            "profile": [[seconds, rate]],
            "without": without,
        }
        self._progress.begin(variant if variant in (ALONE, PROBE, IDLE, WHOLE) else f"without {variant}", rate)
        readings: dict[str, dict[str, Reading]] = {}
        metrics: dict[str, dict[str, tuple[float, str]]] = {}
        last = self._boxes.read()
        began = now()

        def on_window(window: str) -> None:
            # Telling its metrics costs a box CPU, which is kept out of the window.
            if window == "start":
                metrics[window] = self._boxes.metrics()
            readings[window] = self._boxes.read()
            if window == "end":
                metrics[window] = self._boxes.metrics()

        def on_progress(progress: dict[str, Any]) -> None:
            nonlocal last
            reading = self._boxes.read()
            self._progress.second(progress, self._boxes.between(last, reading))
            last = reading

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
        self._run.data["trials"].append(
            {
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
        )
        self._run.save()
        self._progress.end(shown, loads, judged=not shown.valid)
        return shown


def _plain(rate: float) -> float:
    """Two figures of a rate: it is set once for all trials, so no more need be said of it."""
    return float(f"{rate:.2g}")
