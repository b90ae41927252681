"""One trial of the load generator: what it sends, and when, and all that it keeps of it."""

import random
import time
from itertools import accumulate
from typing import Any

import gevent

from loadtests.load import canary, dataset, mixes, summary
from loadtests.load.lines import say
from loadtests.load.open_model import OpenModel
from loadtests.load.samples import UNFINISHED, Sample
from loadtests.load.sender import TIME_OUT, Sender
from loadtests.load.usage import Mark, marked

LATE_SECONDS = 0.05
"""A tenth of what the SLO allows: what goes out later than this has waited for the generator."""


class Trial:
    """One trial: dispatches the profile, keeps every sample, reports as it goes."""

    def __init__(self, sender: Sender, data: dataset.Dataset, wanted: dict[str, Any], quota: float) -> None:
        self.mix = mixes.load(wanted["mix"])
        self.without = frozenset(wanted.get("without", ()))
        if unknown := self.without - set(self.mix.parts):
            raise ValueError(f"the mix {self.mix.name} has no {', '.join(sorted(unknown))}")
        self.profile = [(float(seconds), float(rate)) for seconds, rate in wanted["profile"]]
        self.warmup = float(wanted.get("warmup", 0))
        self.seconds = sum(seconds for seconds, _ in self.profile)
        self.quota = quota
        sender.strangers.all = bool(wanted.get("strangers"))
        self.samples: list[Sample] = []
        self.journeys: list[Sample] = []
        self.waiting: dict[int, tuple[str, float]] = {}
        self.under_way: dict[int, tuple[str, float]] = {}
        self.sent: list[float] = []
        """When each arrival was to be sent; ``late`` of those that were sent LATE_SECONDS later or more."""
        self.late: list[float] = []
        self.beats: list[tuple[float, list[float]]] = []
        """When the canary did its work, and what its slices took."""
        self._sender = sender
        rng = random.Random(int(wanted.get("seed", 1)))
        self._model = OpenModel(
            rate=lambda seconds: self.rate(seconds) / self.mix.requests_an_arrival,
            serve=self._serve,
            refuse=self._refuse,
            rng=random.Random(rng.random()),
        )
        self._draw = self.mix.begin(rng, data, sender.host)
        self._number = 0

    def rate(self, seconds: float) -> float:
        """Requests/s so many seconds after the start, warm-up included."""
        into = seconds - self.warmup
        factor = self.mix.factor(max(0.0, into))
        for length, rate in self.profile:
            if into < length:
                return rate * factor
            into -= length
        return 0.0

    def run(self) -> dict[str, Any]:
        """The result, as the docstring of loadtests/load/generator.py has it."""
        began = time.perf_counter()
        start = began + self.warmup
        end = start + self.seconds
        marks: list[Mark] = []

        def mark(window: str | None = None) -> None:
            marks.append(marked())
            if window:
                say(window=window)

        report = gevent.spawn(self._report, start, end)
        beating = gevent.spawn(self._beat)
        timers = [gevent.spawn_later(self.warmup, mark, "start")]
        timers += [gevent.spawn_later(self.warmup + into, mark) for into in self._changes()]
        self._model.run(self.warmup + self.seconds)
        # On a generator that is much too slow a timer may not have come; what it would have marked ends here as well.
        marks += [marked()] * (len(self.profile) - len(marks))
        mark("end")
        gevent.kill(beating)
        # What is still waiting is waited for, as its user would, at most until it would time out.
        gevent.killall(timers)  # their moments are past
        give_up = time.perf_counter() + TIME_OUT
        while self.waiting and time.perf_counter() < give_up:
            gevent.sleep(0.02)
        gevent.kill(report)
        now = time.perf_counter()
        unfinished = [Sample(route, intended, now, UNFINISHED) for route, intended in self.waiting.values()]
        samples = self.samples + unfinished
        journeys = self.journeys + [
            Sample(name, intended, now, UNFINISHED) for name, intended in self.under_way.values()
        ]
        stretches = []
        at = start
        for (seconds, rate), before, after in zip(self.profile, marks, marks[1:], strict=False):
            figures = summary.totals(samples, at, at + seconds) | self._health(before, after, at, at + seconds)
            stretches.append({"rate": rate, "seconds": seconds} | figures)
            at += seconds
        return {
            "mix": self.mix.name,
            "without": sorted(self.without),
            "warmup": self.warmup,
            "seconds": self.seconds,
            "profile": [list(stretch) for stretch in self.profile],
            "total": summary.totals(samples, start, end),
            "stretches": stretches,
            "routes": summary.by_route(samples, start, end),
            "journeys": summary.journeys(journeys, start, end),
            "series": summary.series(samples, start, max(1, round(self.seconds))),
            "in_flight_start": summary.in_flight(samples, start),
            "in_flight_end": summary.in_flight(samples, end),
            "answered_in_all": sum(not sample.error for sample in samples),
            "started": start,
            "seconds_by_route": summary.seconds(samples, start, end),
            "beats": [{"t": round(at - start, 3), "canary": canary.speed([beat])} for at, beat in self.beats],
            **self._health(marks[0], marks[-1], start, end),
            # Of the warm-up, too: nothing of it depends on whether the stage is warm.
            "canary": canary.speed(beat for _, beat in self.beats),
        }

    def _changes(self) -> list[float]:
        """When one stretch follows another, in seconds after the warm-up."""
        return list(accumulate(seconds for seconds, _ in self.profile[:-1]))

    def _health(self, before: Mark, after: Mark, start: float, end: float) -> dict[str, Any]:
        """Whether what measures was fit to: the generator's CPU of its quota, the share of the time that it waited
        for a CPU, the share of the window's arrivals that it was late with, how idle the machine's CPUs were, and its
        speed.
        """
        spent, idle, ticks = after.cpu - before.cpu, after.idle - before.idle, after.ticks - before.ticks
        waited = None if after.waited is None or before.waited is None else after.waited - before.waited
        late, arrivals = (sum(start <= intended < end for intended in each) for each in (self.late, self.sent))
        generator = {
            "cpu_seconds": round(spent, 3),
            "cpu_share": round(spent / (end - start) / self.quota, 4),
            "run_delay": None if waited is None else round(waited / (end - start), 4),
            "late_share": round(late / arrivals, 4) if arrivals else 0.0,
        }
        return {
            "generator": generator,
            "host_idle": round(idle / ticks, 4) if ticks else None,
            "canary": canary.speed(beat for at, beat in self.beats if start <= at < end),
        }

    def _beat(self) -> None:
        while True:
            self.beats.append((time.perf_counter(), canary.beat()))
            gevent.sleep(1.0)

    def _serve(self, intended: float) -> None:
        request = self._draw()
        if request.part in self.without:
            return
        self.sent.append(intended)
        if time.perf_counter() - intended > LATE_SECONDS:
            self.late.append(intended)
        number = self._number = self._number + 1
        began, journey = intended, request.journey
        if journey:
            self.under_way[number] = (journey, began)
        while True:
            self.waiting[number] = (request.route, intended)
            sample, following = self._sender.send(request, intended)
            # A sample that comes after the trial gave up on it was counted as unfinished.
            if self.waiting.pop(number, None):
                self.samples.append(sample)
            if following is None or following.part in self.without:
                break
            request, intended = following, time.perf_counter()
        if self.under_way.pop(number, None) and following is None:
            self.journeys.append(Sample(journey, began, sample.finished, sample.error))

    def _refuse(self, intended: float) -> None:
        self.samples.append(self._sender.refuse(intended))

    def _report(self, start: float, end: float) -> None:
        spent, since, seen = time.process_time(), time.perf_counter(), 0
        while True:
            gevent.sleep(1.0)
            now = time.perf_counter()
            recent = self.samples[seen:]
            seen += len(recent)
            cpu = time.process_time()
            say(
                progress={
                    "t": round(now - start, 1),
                    "seconds": round(end - start, 1),
                    "rate": round(self.rate(now - start + self.warmup), 1),
                    "achieved": round(sum(not sample.error for sample in recent) / (now - since), 1),
                    "p95": summary.latency(recent)["p95"],
                    "errors": sum(bool(sample.error) for sample in recent),
                    "in_flight": self._model.in_flight,
                    "cpu_share": round((cpu - spent) / (now - since) / self.quota, 3),
                }
            )
            spent, since = cpu, now
