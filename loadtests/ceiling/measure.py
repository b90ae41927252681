"""One trial: the load, and what the boxes did meanwhile."""

import time
from typing import Any, NamedTuple

from loadtests import raw
from loadtests.ceiling import counts
from loadtests.ceiling.boxes import Boxes
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run, now
from loadtests.ceiling.speed import Speeds
from loadtests.ceiling.stage import Rig
from loadtests.ceiling.verdict import Outcome, outcome
from loadtests.observe import cache, programs
from loadtests.observe.observer import Observer, ObserverError
from loadtests.observe.readings import Load, Moment, of_host

# In these the programs of each box are told apart and the apps' counters read, before the warm-up and once all
# answers are there: an app spends CPU on telling its metrics, and would not be at rest again after a short warm-up.
TELLS_MORE = {"confirmation"}
# How long the balancer's log may keep a line back.
LOG_SECONDS = 1.5
NOT_JUDGED = {"warm-up", "probe", "overload"}


class Telling(NamedTuple):
    """What is read before a trial and after it: by ``time.time``, CPU seconds by program, the apps' metrics, and how
    full the caches are.
    """

    at: float
    programs: dict[str, dict[str, float]]
    metrics: dict[str, tuple[float, str]]
    caches: dict[str, dict[str, Any]]

    def rows(self, start: float, told: str) -> list[dict[str, Any]]:
        """What of it is kept as raw data: of each app its reads of the cache so far, and of each cache how full it was.

        ``t`` is in seconds after ``start``, and ``told`` says which of a trial's two it was.
        """
        apps = [
            {"t": round(at - start, 4), "told": told, "app": app, "reads": found}
            for app, (at, text) in self.metrics.items()
            if (found := cache.reads(text))
        ]
        caches = [
            {"t": round(found["at"] - start, 4), "told": told, "cache": name}
            | {what: value for what, value in found.items() if what != "at"}
            for name, found in self.caches.items()
        ]
        return apps + caches


class Bench:
    """A stage that is ready and the record: what trials are run on."""

    def __init__(self, rig: Rig, run: Run, mix: str, progress: Progress, strangers: bool = False) -> None:
        self._generator = rig.generator
        self._boxes = rig.boxes
        self._observer = rig.observer
        self._run = run
        self._wanted = {"mix": mix, "strangers": strangers}
        self._progress = progress
        self._speeds = Speeds()
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
        wanted = self._wanted | {"seed": self._seed, "warmup": warmup, "profile": profile}
        self._progress.begin(phase, profile[0][1])
        marks: dict[str, Moment] = {}
        until_last = sum(seconds for seconds, _ in profile[:-1])
        began = now()
        before = self._tell() if phase in TELLS_MORE else None
        self._observer.seconds()  # those between two trials are nobody's

        def on_window(window: str) -> None:
            marks[window] = self._observer.read()

        def on_progress(progress: dict[str, Any]) -> None:
            if until_last and "last" not in marks and progress["t"] >= until_last:
                marks["last"] = self._observer.read()
            self._progress.second(progress, seen(self._boxes, self._observer))

        result = self._generator.trial(wanted, on_window, on_progress)
        moments = self._observer.seconds()
        after = self._tell() if before else None
        if not {"start", "end"} <= marks.keys():
            raise ObserverError("the boxes' readings of a trial are missing")
        until = marks.get("last", marks["end"])
        loads = self._boxes.between(marks["start"], until)
        self._speeds.tell(result)
        # A box that works in the background may be as busy as it likes: nobody waits for it.
        waited_for = self._boxes.waited_for()
        busiest = max(load.utilisation for name, load in loads.items() if name in waited_for)
        shown = outcome(result, profile[0][1], busiest)
        trial: dict[str, Any] = {
            "phase": phase,
            "rate": shown.rate,
            "began": began,
            "judged": phase not in NOT_JUDGED,
            "passed": shown.passed,
            "failures": shown.failures(),
            "valid": shown.valid,
            "limits": shown.limits(),
            "boxes": {name: load.record() for name, load in loads.items()},
            "host": of_host(marks["start"].host, until.host),
            "programs": {},
            "counts": {},
            "result": result,
        }
        told: list[dict[str, Any]] = []
        if before and after:
            trial["programs"] = programs.shares(before.programs, after.programs)
            trial |= self._counts(before, after, result["answered_in_all"])
            told = before.rows(result["started"], "before") + after.rows(result["started"], "after")
            trial["cache"] = raw.cache(told)
        self._run.add(trial, moments, marks, told)
        self._progress.end(shown, loads, judged=phase not in NOT_JUDGED)
        return shown, result

    def _tell(self) -> Telling:
        observer, caches = self._observer, self._boxes.cache_urls()
        return Telling(time.time(), observer.programs(), observer.metrics(), self._generator.caches(caches))

    def _counts(self, before: Telling, after: Telling, requests: int) -> dict[str, Any]:
        """What the apps and the balancer, if there is one, counted a second, and over how many seconds and
        ``requests`` of clients: those of the warm-up, too, because the counters were read before it.
        """
        found = counts.a_second(before.metrics, after.metrics)
        if origin := self._boxes.origin():
            time.sleep(LOG_SECONDS)
            log = self._boxes.log(origin, before.at - LOG_SECONDS, after.at + LOG_SECONDS)
            found |= counts.at_origin(log, before.at, after.at)
        over = {"seconds": round(after.at - before.at, 3), "requests": requests, "warmup": True}
        return {"counts": {name: round(rate, 4) for name, rate in found.items()}, "counted_over": over}


def seen(boxes: Boxes, observer: Observer) -> dict[str, Load]:
    """The boxes' loads in the last second, for people who watch."""
    moments = observer.latest()
    return boxes.between(*moments) if len(moments) == 2 else {}
