"""Why the ceiling is where it is: the utilisation law, and what it predicts.

Service demand D = U / X: the CPU seconds a box spends on one request, over all its visits, is its utilisation
by the throughput (Denning and Buzen, "The Operational Analysis of Queueing Network Models", 1978). The
throughput of a system is at most min over boxes of capacity / D; a box that is doubled has half its
utilisation at the same throughput.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# A box that at or beyond the ceiling is not this busy, nor held back by its quota for so much of the time that it
# leaves, is not what holds the stage back: a lock, a pool or a limit of its own is. A box that always has work is
# held back for all of that time. Not in so many of its periods: those count only where it ran at all, and a box that
# is nearly idle and does its little in bursts, as a health check is, runs into its quota in most of them.
SATURATED = 0.85
THROTTLED = 0.8


@dataclass(frozen=True)
class Demand:
    """One box, or one program on it.

    ``cpu`` in CPUs used, ``capacity`` in CPUs, ``per_request_ms`` CPU ms.
    """

    name: str
    cpu: float
    capacity: float
    per_request_ms: float

    @property
    def utilisation(self) -> float:
        """Share of the capacity that was used, 0 to 1."""
        return self.cpu / self.capacity


def is_saturated(box: Mapping[str, float]) -> bool:
    """Whether a box, as the record of a trial has it, had no CPU left: ``throttled`` is a share of the time."""
    quota = box["cpu"] / box["utilisation"] if box["utilisation"] else 1.0
    left = max(0.0, 1.0 - quota)
    return box["utilisation"] >= SATURATED or 0 < THROTTLED * left <= box["throttled"]


def demands(cpu: Mapping[str, float], capacity: Mapping[str, float], throughput: float) -> list[Demand]:
    """Of each box, the busiest first. ``throughput`` in requests/s, completed while ``cpu`` was used."""
    found = [Demand(name, used, capacity[name], used / throughput * 1000) for name, used in cpu.items()]
    return sorted(found, key=lambda one: -one.utilisation)


def ceiling_with(found: list[Demand], ceiling: float, changed: Mapping[str, float]) -> float:
    """The ceiling in requests/s if some boxes' capacities were multiplied.

    The box that saturates is taken to hold the SLO up to the utilisation it was measured at, and so any
    other.
    """
    reached = max(one.utilisation for one in found)
    return min(ceiling * reached / one.utilisation * changed.get(one.name, 1.0) for one in found if one.cpu > 0)


def predictions(found: list[Demand], ceiling: float) -> dict[str, float]:
    """For each box, the ceiling if that box alone were doubled."""
    return {one.name: ceiling_with(found, ceiling, {one.name: 2.0}) for one in found}


def if_split(programs: Mapping[str, float], ceiling: float) -> float | None:
    """The ceiling if the two costliest programs of one box had a box each, of the same size.

    ``programs`` is CPU by program. The rest (supervisor, health checks) stays on both. Network calls that the
    split adds are not in it. None when there are not two.
    """
    if len(programs) < 2:
        return None
    total = sum(programs.values())
    first, second, *rest = sorted(programs.values(), reverse=True)
    if second <= 0.02 * total:
        return None
    return ceiling * total / (first + sum(rest))
