"""The ceiling that a stage should have, from what was measured below it: a queueing model that can be wrong.

A request visits boxes, each a queue for a quota of CPU. A box of which a request wants D seconds of CPU, with a quota
of C CPUs, keeps it for S = D / C; others are in the way as long as Pollaczek and Khinchine have it, ρ·S·(1 + c²) /
(2·(1 - ρ)), with c² the squared coefficient of variation of the work: 1 is what a box that shares itself among its
requests has whatever they want, more is work that comes in lumps. A quota is spent in each period before it is given
anew: who comes when it is spent, with chance ρ, waits half of what is left of the period on average, (1 - C)·P / 2
(M/G/1 with vacations; Fuhrmann and Cooper, "Stochastic Decompositions in the M/G/1 Queue with Generalized Vacations",
1985). Long waits have an exponential tail, so that p95 is ln 20 times the mean.

D and the load at rest are slopes and starts of lines (``demand``), c² is what fits the p95 of trials below the ceiling.
Nothing comes from the trials that the prediction is held against. Boxes that work in the background, from a queue, are
no part of the model: a request waits for none of them, however busy they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

TAIL_OF_P95 = math.log(20)
# c² that are tried.
LUMPS = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
# A program that takes less of a box than this, as a supervisor does, is not worth a box of its own.
LEAST_SHARE = 0.02


@dataclass(frozen=True)
class Place:
    """Boxes that share a kind of work: how many, each with ``capacity`` CPUs in every ``period`` seconds.

    ``base`` in CPUs that all of them together use at rest, ``demand`` in CPU seconds that a request wants of the one it
    visits.
    """

    boxes: int
    capacity: float
    period: float
    base: float
    demand: float

    def utilisation(self, rate: float) -> float:
        """Of each box at a rate in requests/s; above 1 where it cannot keep up."""
        return (self.base + rate * self.demand) / (self.boxes * self.capacity)

    def mean_wait(self, rate: float, lumps: float) -> float:
        """Seconds that a request spends here; infinite where the box cannot keep up."""
        busy = self.utilisation(rate)
        if busy >= 1:
            return math.inf
        service = self.demand / self.capacity
        queue = busy * service * (1 + lumps) / (2 * (1 - busy))
        stall = busy * max(0.0, 1 - self.capacity) * self.period / 2
        return service + queue + stall


@dataclass(frozen=True)
class Model:
    """The boxes of a stage by role, and the lumps of their work, c²."""

    places: Mapping[str, Place]
    lumps: float

    def p95_ms(self, rate: float) -> float:
        """Of all requests at a rate in requests/s."""
        return 1000 * TAIL_OF_P95 * sum(place.mean_wait(rate, self.lumps) for place in self.places.values())

    def ceiling(self, p95_ms: float) -> float:
        """The highest rate, in requests/s, with a p95 within ``p95_ms``; 0 where there is none."""
        low, high = 0.0, min(
            (place.boxes * place.capacity - place.base) / place.demand
            for place in self.places.values()
            if place.demand > 0
        )
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.p95_ms(middle) <= p95_ms else (low, middle)
        return low

    def doubled(self, role: str) -> "Model":
        """With twice as many boxes of a role, each with the same load at rest."""
        place = self.places[role]
        twice = replace(place, boxes=2 * place.boxes, base=2 * place.base)
        return replace(self, places={**self.places, role: twice})

    def split(self, role: str, programs: Mapping[str, float]) -> "Model | None":
        """With a box each for the two costliest programs of a role that has one box.

        ``programs`` are their shares of its CPU. What else runs there stays with both, as does the load at rest; what
        the network between them costs is not in it. None where there are not two.
        """
        costliest = sorted(programs, key=lambda name: -programs[name])[:2]
        total = sum(programs.values())
        if len(costliest) < 2 or programs[costliest[1]] <= LEAST_SHARE * total:
            return None
        place = self.places[role]
        rest = total - sum(programs[name] for name in costliest)
        apart = {name: replace(place, demand=place.demand * (programs[name] + rest) / total) for name in costliest}
        others = {name: one for name, one in self.places.items() if name != role}
        return replace(self, places=others | apart)


def fitted(places: Mapping[str, Place], seen: Sequence[tuple[float, float]]) -> Model | None:
    """The model whose p95 are nearest to those ``seen``, (requests/s, ms); None where nothing was seen.

    Nearest by their logarithms, so that a short wait that is told wrong weighs as much as a long one.
    """
    models = [Model(places, lumps) for lumps in LUMPS]
    return min(models, key=lambda model: _misses(model, seen)) if seen else None


def _misses(model: Model, seen: Sequence[tuple[float, float]]) -> float:
    return sum(math.log(model.p95_ms(rate) / p95) ** 2 for rate, p95 in seen)
