"""A stage that is made up, with a ceiling, a speed and health checks that are known: what measures is held against it.

One box with a quota of CPU serves one request after another; the work of each is exponential. So without anything else
it is M/M/1, whose times in the system are exponential: the share over t seconds is exp(-(μ - λ)·t), and the ceiling is
where that is 5 %. Samples go through the generator's own summary and the search's own verdict.
"""

import math
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from loadtests.ceiling.verdict import Outcome, outcome
from loadtests.load import summary
from loadtests.load.samples import Sample

FIT: dict[str, Any] = {"generator": {"cpu_share": 0.1, "late_share": 0.0}, "host_idle": 0.5}
CHECKED_EVERY = 5.0


@dataclass
class MadeUpStage:
    """``capacity`` in requests/s at a speed of 1; ``check_seconds`` that a health check, each 5 s, keeps the box.

    ``drift`` is the standard deviation of the machine's speed, which takes ``drift_seconds`` to change. What comes with
    ``most_in_flight`` in the box is refused.
    """

    capacity: float
    seed: int = 1
    check_seconds: float = 0.0
    drift: float = 0.0
    drift_seconds: float = 60.0
    most_in_flight: int = 10_000
    clock: float = 0.0
    trials: list[tuple[str, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.speed = self.rng.gauss(0, self.drift)

    @property
    def ceiling(self) -> float:
        """Without checks and at a speed of 1: 5 % are over the SLO where (μ - λ)·t = ln 20."""
        return self.capacity - math.log(20) / summary.SLO_SECONDS

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """As the search asks for it."""
        self.trials.append((phase, rate, seconds + warmup))
        samples, busy = self.samples([[seconds, rate]], warmup)
        result = {
            "total": summary.totals(samples, 0, seconds),
            "series": summary.series(samples, 0, int(seconds)),
            **FIT,
        }
        return outcome(result, rate, busy / (seconds + warmup))

    def samples(self, profile: list[list[float]], warmup: float) -> tuple[list[Sample], float]:
        """What stretches of [seconds, requests/s] send, from -warmup on, and how many seconds the box was busy."""
        until = sum(seconds for seconds, _ in profile)
        self._pass(until + warmup)
        samples: list[Sample] = []
        inside: deque[float] = deque()
        free = now = -warmup
        busy = 0.0
        check = now + self.rng.uniform(0, CHECKED_EVERY)
        work = self.capacity * math.exp(self.speed)
        ends = list(accumulate(seconds for seconds, _ in profile))
        while True:
            rate = next(rate for end, (_, rate) in zip(ends, profile, strict=True) if now < end)
            now += self.rng.expovariate(rate)
            if now >= until:
                return samples, busy
            while check < now:
                free = max(free, check) + self.check_seconds * math.exp(-self.speed)
                check += CHECKED_EVERY
            while inside and inside[0] <= now:
                inside.popleft()
            if len(inside) >= self.most_in_flight:
                samples.append(Sample("GET /", now, now + 0.001, "status 503"))
                continue
            took = self.rng.expovariate(work)
            free = max(free, now) + took
            busy += took
            inside.append(free)
            samples.append(Sample("GET /", now, free, ""))

    def _pass(self, seconds: float) -> None:
        """Time goes by, and the speed with it: an Ornstein-Uhlenbeck process."""
        self.clock += seconds
        kept = math.exp(-seconds / self.drift_seconds)
        self.speed = kept * self.speed + math.sqrt(1 - kept**2) * self.rng.gauss(0, self.drift)
