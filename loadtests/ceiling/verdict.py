"""What a trial showed: whether its own figures hold the SLO, and whether it was the stage that was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from loadtests.load.summary import SLO_SECONDS

SLO_P95_MS = SLO_SECONDS * 1000
SLO_ERRORS = 0.001
SLO_ACHIEVED = 0.99
GENERATOR_AT_MOST = 0.7
HOST_IDLE_AT_LEAST = 0.05
# Of the arrivals, those that went out so late that they waited for the generator (``trial.LATE_SECONDS``). Where a
# twentieth of them does, a p95 is not the stage's any more; one of a hundred moves it little.
LATE_AT_MOST = 0.01
# By so much the machine may be faster or slower than usual in a run (``speed.Speeds``).
SPEED_OFF_AT_MOST = 0.1
SPEED = "machine at"
# A backlog is growing when it gains, from the window's first third to its last, what arrives in this many
# seconds.
BACKLOG_SECONDS = 0.15
BACKLOG_REQUESTS = 10
REFUSED_BY_GENERATOR = "generator:"
# Late requests come in bursts: in the kept runs the variance of their share grows with the length of a block up to 5 s
# and no further, so blocks of 5 s are the shortest that are as good as independent. Boxes are checked once in each,
# too.
BLOCK_SECONDS = 5


class Block(NamedTuple):
    """Requests that arrived within some seconds: how many, answered later than the SLO, and failed."""

    arrivals: int
    late: int
    failed: int


@dataclass(frozen=True)
class Outcome:
    """A trial in figures: rates in requests/s, shares 0 to 1, p95 in ms (None: no answer at all).

    ``achieved`` is the share of the requests *sent* that were answered with 2xx: sent, not asked for, since
    Poisson arrivals are never exactly as many as their rate says.
    """

    rate: float
    completed_rate: float
    achieved: float
    error_share: float
    p95: float | None
    backlog_growth: float
    """Requests in flight in the last third of the window more than in its first third, on average."""
    limited_by: tuple[str, ...] = ()
    """What besides the stage limited it, so that it is no verdict."""
    busiest: float | None = None
    """Utilisation of the busiest box against its quota; None when it is not known."""
    blocks: tuple[Block, ...] = ()
    """The window by BLOCK_SECONDS, in order."""

    def failures(self) -> list[str]:
        """Why the SLO was not held; empty when it was."""
        reasons = []
        if self.p95 is None:
            reasons.append("no request was answered")
        elif self.p95 > SLO_P95_MS:
            reasons.append(f"p95 {self.p95:.0f} ms > {SLO_P95_MS:.0f} ms")
        if self.error_share >= SLO_ERRORS:
            reasons.append(f"errors {self.error_share:.2%} ≥ {SLO_ERRORS:.1%}")
        return reasons + self.backlogs()

    def backlogs(self) -> list[str]:
        """Why the stage does not keep up, whatever its answers' times; empty when it does."""
        reasons = []
        if self.achieved < SLO_ACHIEVED:
            reasons.append(f"achieved {self.achieved:.1%} < {SLO_ACHIEVED:.0%} of offered")
        if self.backlog_growth > max(BACKLOG_REQUESTS, self.rate * BACKLOG_SECONDS):
            reasons.append(f"backlog grew by {self.backlog_growth:.0f}")
        return reasons

    def limits(self) -> list[str]:
        """What besides the stage limited the trial, so that it is no verdict; empty when nothing did."""
        return list(self.limited_by)

    @property
    def may_pass_by(self) -> bool:
        """Whether only the machine's speed limited it, which is another one a little later."""
        return bool(self.limited_by) and all(limit.startswith(SPEED) for limit in self.limited_by)

    @property
    def passed(self) -> bool:
        """Whether the SLO was held."""
        return not self.failures()

    @property
    def valid(self) -> bool:
        """Whether it was the stage, and nothing else, that was measured."""
        return not self.limits()


def outcome(result: dict[str, Any], rate: float, busiest: float | None) -> Outcome:
    """An Outcome out of a generator's result."""
    total = result["total"]
    flying = [row["in_flight"] for row in result["series"]]
    third = max(1, len(flying) // 3)
    growth = sum(flying[-third:]) / third - sum(flying[:third]) / third
    return Outcome(
        rate=rate,
        completed_rate=total["completed_rate"],
        achieved=total["answered"] / total["sent"] if total["sent"] else 0.0,
        error_share=total["error_share"],
        p95=total["p95"],
        backlog_growth=growth,
        limited_by=tuple(limits(result, total["errors"])),
        busiest=busiest,
        blocks=blocks(result["series"]),
    )


def blocks(series: Sequence[Mapping[str, Any]]) -> tuple[Block, ...]:
    """The seconds of a window (``summary.series``) in blocks; what is left at the end belongs to the last one.

    Empty for a record that is older than ``late``.
    """
    if not series or "late" not in series[0]:
        return ()
    starts = range(0, max(1, len(series) // BLOCK_SECONDS) * BLOCK_SECONDS, BLOCK_SECONDS)
    found = []
    for start in starts:
        rows = series[start:] if start == starts[-1] else series[start : start + BLOCK_SECONDS]
        found.append(Block(*(sum(row[name] for row in rows) for name in ("offered", "late", "errors"))))
    return tuple(found)


def limits(window: Mapping[str, Any], errors: Mapping[str, int]) -> list[str]:
    """What besides the stage limited a window of the generator's, whole or one stretch; empty when nothing did."""
    found = []
    generator, idle = window["generator"], window["host_idle"]
    if generator["cpu_share"] > GENERATOR_AT_MOST:
        found.append(f"generator at {generator['cpu_share']:.0%} of its CPU")
    if generator["late_share"] > LATE_AT_MOST:
        found.append(f"generator late with {generator['late_share']:.1%} of the arrivals")
    if idle is not None and idle < HOST_IDLE_AT_LEAST:
        found.append(f"host with {idle:.0%} idle CPU")
    if abs(off := window.get("speed_off") or 0.0) > SPEED_OFF_AT_MOST:
        found.append(f"{SPEED} {1 + off:.0%} of its usual speed")
    # Thousands under way are the fault of a generator, or a machine, that is slow; else the stage keeps them.
    if found and (refused := sum(n for kind, n in errors.items() if kind.startswith(REFUSED_BY_GENERATOR))):
        found.append(f"generator could not send {refused} arrivals")
    return found
