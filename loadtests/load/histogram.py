"""Histograms of latencies, as they are kept: buckets that grow by one per cent, one edge exactly at the objective.

Of our own, and not HdrHistogram's, for that edge: whether an answer was good must be readable off the buckets, and its
edges are powers of two. So few lines also need no library in any image, and the counts are plain JSON.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

EDGE_MS = 500.0
"""The objective: what took so long at most is in a bucket of zero or less."""
STEP = 2 ** (1 / 64)
"""Each bucket's upper edge by its lower one: 1.09 %."""
_SHORTEST_MS = 0.001
# What is an edge stays one, though logarithms are rounded.
_ROUNDING = 1e-9


def bucket(ms: float) -> int:
    """The bucket of a latency: its upper edge is EDGE_MS * STEP ** bucket."""
    return math.ceil(math.log(max(ms, _SHORTEST_MS) / EDGE_MS, STEP) - _ROUNDING)


def upper_edge(number: int) -> float:
    """The longest latency of a bucket, in ms."""
    return EDGE_MS * STEP**number


def merged(histograms: Iterable[Mapping[str, int]]) -> Counter[int]:
    """Histograms as they are kept (their buckets are JSON's names) as one."""
    found: Counter[int] = Counter()
    for one in histograms:
        for number, count in one.items():
            found[int(number)] += count
    return found


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The nearest-rank percentile in ms, at most a bucket's width too long; None of nothing."""
    rank = max(1, math.ceil(share * sum(histogram.values())))
    for number in sorted(histogram):
        rank -= histogram[number]
        if rank <= 0:
            return upper_edge(number)
    return None
