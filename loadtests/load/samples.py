"""One arrival and how it ended, apart from Locust so that figures can be taken without it."""

from typing import NamedTuple

REFUSED = "generator: too many in flight"
"""The error of an arrival that the generator did not send."""
TIMED_OUT = "time-out"
UNFINISHED = "unfinished when the trial ended"
CONNECTION = "connection"
UNEXPECTED = "an answer that nothing can follow from"

WAITED_FOR = frozenset({TIMED_OUT, UNFINISHED})
"""Errors that were waits first, and so count in the latencies with as long as they were waited for."""


class Sample(NamedTuple):
    """``time.perf_counter`` seconds of the intended start and the end.

    ``error`` is empty for a 2xx answer, and for 304.
    """

    route: str
    intended: float
    finished: float
    error: str
