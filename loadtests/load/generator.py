"""The load generator: a process that runs trials on request, in JSON lines on stdin and stdout.

In:   {"trial": {"mix": "browse", "seed": 1, "warmup": 5, "profile": [[20, 300], [10, 600]], "without": []}}
      one or more stretches of [seconds, requests/s] that follow each other without a pause, after a warm-up
      at the first one's rate. ``without`` names parts of the mix that are not sent; the others arrive as they
      would with them, so the rate stays that of the whole mix. ``"strangers": true`` opens a connection for each
      request, as people do who never came before; else arrivals share connections that are kept.
      {"warm": {"seconds": 60, "targets": ["http://app1:8000"]}} reads what the stage may cache, from these apps, as
      loadtests/load/warming.py has it.
      {"caches": {"cache": "redis://cache:6379/0"}} asks each how full it is, as loadtests/load/caches.py has it.
Out:  {"ready": …} once, {"warmed": …} and {"caches": …} where asked for; then for each trial {"window": "start"} and
      {"window": "end"} as they happen, {"progress": …} each second and {"result": …}; {"error": {"kind", "text"}}
      before it gives up. The result's ``seconds_by_route`` and ``beats`` are rows for each second, to be kept apart
      (loadtests/raw.py).
It ends by itself when stdin does, so that it never outlives the one who drives it.
"""

import argparse
import gc
import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import gevent
from gevent.fileobject import FileObject
from gevent.queue import Queue
from locust.env import Environment

from loadtests.load import caches, canary, dataset, mixes, summary, warming
from loadtests.load.open_model import OpenModel
from loadtests.load.samples import UNFINISHED, Sample
from loadtests.load.sender import TIME_OUT, Sender
from loadtests.load.site_assets import SiteError

LATE_SECONDS = 0.05
"""A tenth of what the SLO allows: what goes out later than this has waited for the generator."""


def say(**message: object) -> None:
    """One line to whoever drives."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def cpu_quota() -> float:
    """CPUs that this one-threaded process may use: its container's quota (cgroup v2 or v1), at most one."""
    for read in (_quota_v2, _quota_v1):
        try:
            quota = read()
        except (OSError, ValueError):
            continue
        return min(1.0, quota) if quota > 0 else 1.0
    return 1.0


def _quota_v2() -> float:
    quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    return 1.0 if quota == "max" else int(quota) / int(period)


def _quota_v1() -> float:
    folder = Path("/sys/fs/cgroup/cpu")
    return int((folder / "cpu.cfs_quota_us").read_text()) / int((folder / "cpu.cfs_period_us").read_text())


def host_times() -> tuple[int, int]:
    """Idle and all ticks of the machine's CPUs so far; a container sees its host's."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return ticks[3] + ticks[4], sum(ticks)


def waited_for_cpu() -> float | None:
    """Seconds so far in which this process wanted to run and another one did; None where the kernel does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


class Mark(NamedTuple):
    """What this process and the machine had used at a moment: CPU seconds and seconds waited for a CPU, and ticks."""

    cpu: float
    waited: float | None
    idle: int
    ticks: int


def marked() -> Mark:
    """The mark of this moment."""
    return Mark(time.process_time(), waited_for_cpu(), *host_times())


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
        """The result, as the module's docstring has it."""
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


def resolved(target: str) -> str:
    """The target with its name looked up once, so that no arrival waits for a name server."""
    parts = urlsplit(target)
    address = socket.gethostbyname(parts.hostname or "")
    return urlunsplit((parts.scheme, f"{address}:{parts.port or 80}", "", "", ""))


def main(arguments: list[str] | None = None) -> int:
    """Serve trials until stdin ends. Returns the exit code: 0, or 3 after an ``error`` line."""
    parser = argparse.ArgumentParser(description="Runs load trials, driven by JSON lines.")
    parser.add_argument("--target", required=True, help="where the load goes, as http://box:8000")
    parser.add_argument("--database", action="append", help="as 0-63=postgresql://…; default: DATABASE_URL")
    options = parser.parse_args(arguments)
    databases = options.database or os.environ.get("DATABASE_URL", "").split()
    try:
        data = dataset.read(dataset.parse_databases(databases))
        target = resolved(options.target)
    except dataset.EmptyDatasetError as error:
        say(error={"kind": "empty", "text": f"{error}; load the dataset first: make stageN seed"})
        return 3
    except dataset.DatabaseUnreachableError as error:
        say(error={"kind": "database", "text": str(error)})
        return 3
    except OSError as error:
        say(error={"kind": "target", "text": f"{options.target} cannot be found: {error}"})
        return 3
    serve(data, target)
    return 0


def serve(data: dataset.Dataset, target: str) -> None:
    """Trials, one line each, against a target whose dataset has been read."""
    sender = Sender(Environment(), target)
    quota = cpu_quota()
    # The dataset is for ever; the collector need not walk it again and again while latencies are taken.
    gc.collect()
    gc.freeze()
    found = {"dataset": data.counts, "seeded": data.seeded, "articles_sampled": len(data.articles)}
    say(ready=found | {"cpu": quota, "pid": os.getpid()})
    for line in _lines():
        try:
            asked = json.loads(line)
            if "warm" in asked:
                apps = [Sender(Environment(), resolved(target)) for target in asked["warm"]["targets"]]
                say(warmed=warming.warm(apps, data, float(asked["warm"]["seconds"])))
                continue
            if "caches" in asked:
                say(caches=caches.held(asked["caches"]))
                continue
            trial = Trial(sender, data, asked["trial"], quota)
        except SiteError as error:
            say(error={"kind": "site", "text": f"{error}; the mix needs the app's pages, is the stage's app current?"})
            continue
        except (ValueError, KeyError, TypeError, mixes.UnknownMixError) as error:
            say(error={"kind": "request", "text": f"not a trial: {error}"})
            continue
        say(result=trial.run())


def _lines() -> Iterator[bytes]:
    """Lines of stdin. When it ends, so does this process, in the middle of a trial, too.

    Nobody is listening.
    """
    lines: Queue[bytes] = Queue()

    def read() -> None:
        for line in FileObject(sys.stdin.buffer, "rb"):
            lines.put(line)
        os._exit(0)

    gevent.spawn(read)
    while True:
        yield lines.get()


if __name__ == "__main__":
    sys.exit(main())
