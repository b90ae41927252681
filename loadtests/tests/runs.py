"""Made-up runs of a known system, measured by the real search, for the tests of what is told about them."""

import contextlib
import itertools
import math
import random
from typing import Any

from loadtests.ceiling import counts, overload
from loadtests.ceiling.explain import at_ceiling, explain, foretold
from loadtests.ceiling.plan import QUICK, Plan
from loadtests.ceiling.search import Search
from loadtests.ceiling.verdict import BLOCK_SECONDS, Block, Outcome
from loadtests.load import mixes

BOXES = {1: ["box"], 2: ["app", "db"], 3: ["app1", "app2", "cache", "db", "lb", "media"]}
CACHED = {"hits": 90.0, "misses": 10.0}
CACHE = {
    "reads": {"article": {"hit": 81.0, "miss": 4.0}, "list": {"hit": 9.0, "miss": 6.0, "not cached": 20.0}},
    "held": {
        "cache": {
            "age": 300, "age_after": 330, "keys": 1234, "bytes": 5 << 20, "max_bytes": 160 << 20, "evicted": 0,
        }
    },
}  # fmt: skip


FIT = {"generator": {"cpu_share": 0.1, "late_share": 0.0}, "host_idle": 0.5}
"""What a generator says of a window in which neither it nor the host was the limit."""


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
        refused = max(0.0, 1 - 1 / busy)
        return Outcome(
            rate=rate,
            completed_rate=min(rate, self.capacity),
            achieved=min(1.0, 1 / busy),
            error_share=refused,
            p95=wait,
            backlog_growth=0,
            busiest=min(1.0, busy),
            blocks=blocks(rate, seconds, (1 - refused) * math.exp(-math.log(20) * 500 / wait), refused),
        )


def blocks(rate: float, seconds: float, late: float, failed: float) -> tuple[Block, ...]:
    """As many blocks as so many seconds have, with these shares of late and failed arrivals in all of them together."""
    number = max(1, int(seconds / BLOCK_SECONDS))
    arrivals = rate * seconds
    marks = [[round(share * arrivals * place / number) for share in (1, late, failed)] for place in range(number + 1)]
    return tuple(Block(*(n - m for m, n in zip(*pair, strict=True))) for pair in itertools.pairwise(marks))


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


def record(capacity: float, stage: int = 1, stop_after: int | None = None) -> dict[str, Any]:
    """A run's raw data as the command writes it, of a system with boxes of a quarter CPU; perhaps interrupted."""
    system = System(capacity)
    names = BOXES[stage]
    run: dict[str, Any] = {
        "format": 1,
        "complete": stop_after is None,
        "why_incomplete": None if stop_after is None else "interrupted",
        "started": "2026-01-01T00:00:00Z",
        "ended": "2026-01-01T00:03:00Z",
        "stage": stage,
        "machine": {"cores": 2, "memory": 8 << 30, "processor": "A CPU", "system": "Debian", "docker": "28.2.2"},
        "commit": {"id": "0123456789abcdef", "changed": False},
        "trials": [],
        "mode": QUICK.mode,
        "mix": {"name": "browse", "model": mixes.load("browse").model},
        "slo": {"p95_ms": 500.0, "errors": 0.001, "achieved": 0.99},
        "settings": QUICK.settings(),
        "boxes": [
            {
                "name": name,
                "role": name.rstrip("12"),
                "cpus": 0.25,
                "period_us": 10_000,
                "memory": 256 << 20,
                "image": [],
                "settings": {"MAX_WAIT": "0.1"},
            }
            for name in names
        ],
        "dataset": {"users": 1000, "articles": 10_000, "articles_sampled": 10_000},
        "generator": {"cpus": 1.0},
    }

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        if stop_after is not None and len(run["trials"]) == stop_after:
            raise KeyboardInterrupt
        shown = system.trial(phase, rate, seconds, warmup)
        run["trials"].append(_trial(phase, rate, shown, names))
        return shown

    def foretell(passed: float) -> None:
        run["prediction"] = foretold(run["trials"], run["boxes"], passed, 500)

    made = Search(trial, QUICK, foretell=foretell)
    with contextlib.suppress(KeyboardInterrupt):
        made.run()
    run["ceiling"] = made.found.summary()
    if made.found.estimate is not None:
        _beyond(run, capacity, made.found.estimate.rate, names)
        run["demand"] = explain(run["trials"], run["boxes"], run["prediction"], 500)
        run["overload"] |= overload.of_capacity(run["overload"]["over"], run["demand"]["boxes"])
        run["a_request"] = counts.a_request(at_ceiling(run["trials"]))
        run["cache"] = counts.cache(at_ceiling(run["trials"]))
    return run


def _trial(phase: str, rate: float, shown: Outcome, names: list[str]) -> dict[str, Any]:
    load = {name: (shown.busiest or 0) / (place + 1) for place, name in enumerate(names)}
    return {
        "phase": phase,
        "rate": rate,
        "began": "2026-01-01T00:00:00Z",
        "judged": phase not in ("warm-up", "probe", "overload"),
        "passed": shown.passed,
        "failures": shown.failures(),
        "valid": shown.valid,
        "limits": shown.limits(),
        "boxes": {
            name: {"cpu": 0.25 * busy, "utilisation": busy, "throttled": busy, "memory": 1 << 27}
            for name, busy in load.items()
        },
        "counts": {"queries": rate * (1.5 if len(names) < 3 else 0.5)} | (CACHED if len(names) > 2 else {}),
        "counted_over": {"seconds": 30.0, "requests": 30 * shown.completed_rate, "warmup": True},
        "cache": CACHE if len(names) > 2 and phase == "confirmation" else {},
        "programs": {names[0]: {"app": 0.7, "PostgreSQL": 0.28, "supervisor": 0.02}} if len(names) == 1 else {},
        "result": {
            "total": total(rate, shown),
            "routes": {"GET /api/articles/{slug}": total(rate, shown)},
            "series": [],
            **FIT,
        },
    }


def _beyond(run: dict[str, Any], capacity: float, ceiling: float, names: list[str]) -> None:
    profile = overload.profile(ceiling, 5, 10)
    series: list[dict[str, Any]] = []
    for seconds, rate in profile:
        for _ in range(int(seconds)):
            good = int(min(rate, capacity * 0.95))
            p95 = 480.0 if rate > capacity else 60.0
            row = {"t": len(series), "offered": int(rate), "completed": good, "good": good, "in_flight": 9}
            series.append(row | {"errors": max(0, int(rate - capacity)), "p95": p95})
    shown = Outcome(
        rate=profile[0][1], completed_rate=capacity, achieved=0.5, error_share=0.5, p95=480, backlog_growth=0, busiest=1
    )
    trial = _trial("overload", profile[0][1], shown, names)
    trial["result"] |= {"series": series, "profile": profile, "stretches": [{**FIT, "errors": {}}] * len(profile)}
    run["trials"].append(trial)
    run["overload"] = overload.judge(trial["result"], ceiling)


def known(run: dict[str, Any], ns: float, **machine: Any) -> dict[str, Any]:
    """The same with the machine's speed in its trials."""
    run["machine"] = run["machine"] | {"kernel": "6.1", "boot": "b1"} | machine
    for number, trial in enumerate(run["trials"]):
        # One trial in four is far off: the median is what counts.
        trial["result"]["canary"] = {"ns": 2 * ns if number % 4 == 0 else ns, "median": 2 * ns, "slow": 3 * ns}
        trial["host"] = {"idle": 0.5, "stolen": 0.003}
    return run
