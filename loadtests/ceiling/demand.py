"""What a request costs each box: the slope of CPU used over throughput, apart from what the box uses at rest.

U = U0 + D·X, with U the CPUs that a box used and X the requests/s that were completed meanwhile. D is the service
demand of operational analysis (Denning and Buzen, "The Operational Analysis of Queueing Network Models", 1978), there U
/ X: that quotient holds by definition at any one rate, adds the health checks' and the housekeeping's CPU to the
requests', and cannot be wrong. A line through many rates can be, and its fit says how far.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A box that at or beyond the ceiling is not this busy, nor held back by its quota for so much of the time that it
# leaves, is not what holds the stage back: a lock, a pool or a limit of its own is. A box that always has work is
# held back for all of that time. Not in so many of its periods: those count only where it ran at all, and a box that
# is nearly idle and does its little in bursts, as a health check is, runs into its quota in most of them.
SATURATED = 0.85
THROTTLED = 0.8
# A line through rates that lie closer together than this factor says nothing of its slope.
LEAST_RANGE = 1.3
LEAST_POINTS = 3


@dataclass(frozen=True)
class Line:
    """CPUs over requests/s: ``base`` CPUs at rest, ``slope`` CPU seconds a request with its standard error.

    ``r2`` is the share of the variation between rates that the line explains, 0 to 1. ``error`` and ``r2`` are None
    where there were too few rates for a line, and ``slope`` is then the mean quotient with nothing at rest.
    """

    base: float
    slope: float
    error: float | None
    r2: float | None
    points: int


def line(points: Sequence[tuple[float, float]]) -> Line:
    """Of points (requests/s, CPUs), by weighted least squares.

    The machine's speed moves what a box uses in proportion, so deviations grow with the rate and a point weighs
    1 / rate². A line that begins below zero is drawn through it, since no box uses less than nothing at rest.
    """
    rates = [rate for rate, _ in points]
    mean = sum(cpu / rate for rate, cpu in points) / len(points)
    quotient = Line(0.0, mean, None, None, len(points))
    if len(points) < LEAST_POINTS or max(rates) < LEAST_RANGE * min(rates):
        return quotient
    weighed = [(1 / rate**2, rate, cpu) for rate, cpu in points]
    total = sum(weight for weight, _, _ in weighed)
    middle = sum(weight * rate for weight, rate, _ in weighed) / total
    level = sum(weight * cpu for weight, _, cpu in weighed) / total
    spread = sum(weight * (rate - middle) ** 2 for weight, rate, _ in weighed)
    slope = sum(weight * rate * (cpu - level) for weight, rate, cpu in weighed) / spread
    base = level - slope * middle
    free = len(points) - 2
    if slope <= 0:
        return quotient
    if base < 0:
        # With these weights the line through zero has the mean of the quotients for its slope.
        base, slope, spread, free = 0.0, mean, float(len(points)), len(points) - 1
    left = sum(weight * (cpu - base - slope * rate) ** 2 for weight, rate, cpu in weighed)
    variation = sum(weight * (cpu - level) ** 2 for weight, _, cpu in weighed)
    return Line(base, slope, math.sqrt(left / free / spread), max(0.0, 1 - left / variation), len(points))


@dataclass(frozen=True)
class Demand:
    """One box, or the boxes of one role together.

    ``cpu`` in CPUs used at the ceiling, ``capacity`` in CPUs, ``line`` over all rates.
    """

    name: str
    cpu: float
    capacity: float
    line: Line

    @property
    def utilisation(self) -> float:
        """Share of the capacity that was used at the ceiling, 0 to 1."""
        return self.cpu / self.capacity

    @property
    def per_request_ms(self) -> float:
        """CPU ms of one more request."""
        return self.line.slope * 1000


def is_saturated(box: Mapping[str, float]) -> bool:
    """Whether a box, as the record of a trial has it, had no CPU left: ``throttled`` is a share of the time."""
    quota = box["cpu"] / box["utilisation"] if box["utilisation"] else 1.0
    left = max(0.0, 1.0 - quota)
    return box["utilisation"] >= SATURATED or 0 < THROTTLED * left <= box["throttled"]


def demands(
    cpu: Mapping[str, float], capacity: Mapping[str, float], points: Mapping[str, Sequence[tuple[float, float]]]
) -> list[Demand]:
    """Of each box, the busiest first. ``points`` are (requests/s, CPUs) of each box's trials."""
    found = [Demand(name, used, capacity[name], line(points[name])) for name, used in cpu.items()]
    return sorted(found, key=lambda one: -one.utilisation)
