"""Made-up runs of a known system, measured by the real search, for the tests of what is told about them."""

import math
import random
from typing import Any

from loadtests.ceiling.search import QUICK, Plan, Search
from loadtests.ceiling.verdict import Outcome


class System:
    """A queue of a known ceiling: waits grow as 1 / (1 - utilisation), beyond it requests are refused."""

    def __init__(self, capacity: float, noise: float = 0.0, seed: int = 1, service_ms: float = 20.0) -> None:
        self.capacity = capacity
        self.rng = random.Random(seed)
        self.noise = noise
        self.service_ms = service_ms
        self.trials: list[tuple[str, float, float]] = []

    @property
    def ceiling(self) -> float:
        """Where p95 (three mean waits) is 500 ms."""
        return self.capacity * (1 - 3 * self.service_ms / 500)

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """One trial; noise is relative, on its wait."""
        self.trials.append((phase, rate, seconds + warmup))
        busy = rate / self.capacity
        wait = 3 * self.service_ms / (1 - busy) if busy < 1 else 3000.0
        wait *= math.exp(self.rng.gauss(0, self.noise))
        return Outcome(
            rate=rate,
            completed_rate=min(rate, self.capacity),
            achieved=min(1.0, 1 / busy),
            error_share=max(0.0, 1 - 1 / busy),
            p95=wait,
            backlog_growth=0,
            busiest=min(1.0, busy),
            host_idle=0.5,
        )


def search(system: System, plan: Plan = QUICK) -> Search:
    """A search that has run."""
    made = Search(system.trial, plan)
    made.run()
    return made


def total(rate: float, shown: Outcome) -> dict[str, Any]:
    """What a generator would have said of an outcome."""
    offered = round(rate * 10)
    return {
        "offered": offered,
        "sent": offered,
        "answered": round(offered * shown.achieved),
        "completed": round(shown.completed_rate * 10),
        "good": round(shown.completed_rate * 10),
        "errors": {"status 503": round(offered * shown.error_share)} if shown.error_share else {},
        "error_share": shown.error_share,
        "offered_rate": rate,
        "achieved_rate": shown.completed_rate,
        "completed_rate": shown.completed_rate,
        "goodput": shown.completed_rate,
        "p50": (shown.p95 or 0) / 3,
        "p95": shown.p95,
        "p99": (shown.p95 or 0) * 1.5,
        "max": (shown.p95 or 0) * 2,
    }
