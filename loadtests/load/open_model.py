"""An open model: arrivals that do not wait for answers.

Users of a site do not know that it is slow. They keep arriving, and the wait of each counts from when it
wanted to start. A closed model (a fixed number of users, each waiting for its answer) slows down with the
system it measures and leaves out the waits that matter ("coordinated omission"). So one dispatcher draws
exponential gaps and spawns a greenlet for each arrival; whoever serves it is told the *intended* start and
counts from there.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

# Waits longer than this are drawn in pieces, which changes nothing (exponential gaps have no memory) and lets
# a changed rate take effect.
LONGEST_NAP = 0.25
# A dispatcher that is behind lets the others run this often, or answers would not be read while it catches
# up.
ARRIVALS_BEFORE_YIELD = 20


@dataclass
class OpenModel:
    """Poisson arrivals at a rate that may change with time.

    ``rate`` gives requests/s for a time in seconds since the start; ``serve`` is called in a greenlet of its
    own with the intended start (``time.perf_counter`` seconds) and must not raise; ``refuse`` is called
    instead, also with the intended start, when ``limit`` arrivals are in flight already: nothing is dropped
    without a trace.
    """

    rate: Callable[[float], float]
    serve: Callable[[float], object]
    refuse: Callable[[float], object]
    rng: random.Random
    limit: int = 4000
    in_flight: int = 0

    def run(self, seconds: float = math.inf) -> None:
        """Dispatch for so many seconds.

        Returns at the end of that time, with requests perhaps still in flight.
        """
        start = due = time.perf_counter()
        end = start + seconds
        in_a_row = 0
        while True:
            rate = self.rate(due - start)
            gap = self.rng.expovariate(rate) if rate > 0 else math.inf
            arrives = gap <= LONGEST_NAP
            due += gap if arrives else LONGEST_NAP
            if due >= end:
                gevent.sleep(max(0.0, end - time.perf_counter()))
                return
            wait = due - time.perf_counter()
            in_a_row += 1
            if wait > 0 or in_a_row >= ARRIVALS_BEFORE_YIELD:
                gevent.sleep(max(0.0, wait))
                in_a_row = 0
            if arrives:
                self._arrive(due)

    def _arrive(self, intended: float) -> None:
        if self.in_flight >= self.limit:
            self.refuse(intended)
            return
        self.in_flight += 1
        gevent.spawn(self._serve, intended)

    def _serve(self, intended: float) -> None:
        try:
            self.serve(intended)
        finally:
            self.in_flight -= 1
