"""One trial: the load, and what the boxes did meanwhile."""

import threading
import time
from typing import Any

from loadtests.ceiling import counts
from loadtests.ceiling.boxes import Boxes, DockerUnreachableError, Glances, Load, Reading
from loadtests.ceiling.drive import Generator
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.verdict import Outcome, outcome

# In these the programs of each box are told apart and the apps' counters read, by commands in the boxes at either end:
# too dear for short trials.
TELLS_MORE = {"confirmation"}
# How long the balancer's log may keep a line back.
LOG_SECONDS = 1.5
NOT_JUDGED = {"warm-up", "probe", "overload"}


class Bench:
    """A generator, the boxes, the record: what trials are run on."""

    def __init__(self, generator: Generator, boxes: Boxes, run: Run, mix: str, progress: Progress) -> None:
        self._generator = generator
        self._boxes = boxes
        self._run = run
        self._mix = mix
        self._progress = progress
        self._seed = 0

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """A trial at one rate, recorded; what the search asks for."""
        return self.stretches(phase, [[seconds, rate]], warmup)[0]

    def stretches(self, phase: str, profile: list[list[float]], warmup: float) -> tuple[Outcome, dict[str, Any]]:
        """A trial of several stretches: its outcome as a whole, and the generator's result.

        What the boxes used is recorded until the last stretch begins, in which the load is back: over the whole, a box
        that was busy before would not look so.
        """
        self._seed += 1
        wanted = {"mix": self._mix, "seed": self._seed, "warmup": warmup, "profile": profile}
        self._progress.begin(phase, profile[0][1])
        readings: dict[str, dict[str, Reading]] = {}
        programs: dict[str, dict[str, dict[str, float]]] = {}
        metrics: dict[str, dict[str, tuple[float, str]]] = {}
        times: dict[str, float] = {}
        threads: list[threading.Thread] = []
        until_last = sum(seconds for seconds, _ in profile[:-1])
        glances = Glances(self._boxes) if self._progress.watched else None
        began = now()

        def tell_more(window: str) -> None:
            metrics[window] = self._boxes.metrics()
            programs[window] = self._boxes.programs()

        def on_window(window: str) -> None:
            times[window] = time.time()
            if phase in TELLS_MORE:
                # On a saturated box the commands take their time; the generator's next line does not wait for
                # them.
                threads.append(threading.Thread(target=tell_more, args=(window,), daemon=True))
                threads[-1].start()
            readings[window] = self._boxes.read()

        def on_progress(progress: dict[str, Any]) -> None:
            if until_last and "last" not in readings and progress["t"] >= until_last:
                readings["last"] = self._boxes.read()
            self._progress.second(progress, glances.latest() if glances else {})

        result = self._generator.trial(wanted, on_window, on_progress)
        for thread in threads:
            thread.join(timeout=20)
        if not {"start", "end"} <= readings.keys():
            raise DockerUnreachableError("the boxes' readings of a trial are missing")
        loads = self._boxes.between(readings["start"], readings.get("last", readings["end"]))
        busiest = max(load.utilisation for load in loads.values())
        shown = outcome(result, profile[0][1], busiest)
        self._record(
            phase=phase,
            began=began,
            shown=shown,
            result=result,
            loads=loads,
            programs=_program_shares(programs),
            counts=self._counts(metrics, times) if phase in TELLS_MORE else {},
        )
        self._progress.end(shown, loads, judged=phase not in NOT_JUDGED)
        return shown, result

    def _counts(self, metrics: dict[str, dict[str, tuple[float, str]]], times: dict[str, float]) -> dict[str, float]:
        """What the apps and the balancer, if there is one, counted a second."""
        found = counts.a_second(metrics.get("start", {}), metrics.get("end", {}))
        if origin := self._boxes.origin():
            time.sleep(LOG_SECONDS)
            log = self._boxes.log(origin, times["start"] - LOG_SECONDS, times["end"] + LOG_SECONDS)
            found |= counts.at_origin(log, times["start"], times["end"])
        return {name: round(rate, 4) for name, rate in found.items()}

    def _record(
        self,
        *,
        phase: str,
        began: str,
        shown: Outcome,
        result: dict[str, Any],
        loads: dict[str, Load],
        programs: dict[str, dict[str, float]],
        counts: dict[str, float],
    ) -> None:
        self._run.data["trials"].append(
            {
                "phase": phase,
                "rate": shown.rate,
                "began": began,
                "judged": phase not in NOT_JUDGED,
                "passed": shown.passed,
                "failures": shown.failures(),
                "valid": shown.valid,
                "limits": shown.limits(),
                "boxes": {name: load.record() for name, load in loads.items()},
                "programs": programs,
                "counts": counts,
                "result": result,
            }
        )
        self._run.save()


def _program_shares(programs: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each box, which share of its CPU went to which program.

    Shares, not seconds: on a busy box the two commands that read them are late by different times, which
    shares do not feel.
    """
    shares: dict[str, dict[str, float]] = {}
    for box, after in programs.get("end", {}).items():
        before = programs.get("start", {}).get(box, {})
        spent = {name: max(0.0, seconds - before.get(name, 0.0)) for name, seconds in after.items()}
        total = sum(spent.values())
        if total > 0 and before:
            shares[box] = {name: round(value / total, 4) for name, value in spent.items() if value / total > 0.002}
    return shares
