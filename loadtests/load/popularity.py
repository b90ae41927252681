"""Zipf's law: the article of rank k is read in proportion to 1 / k^s."""

import itertools
import random
from array import array
from bisect import bisect_left
from collections.abc import Iterator

TOP = 0.2
SHARE = 0.8


class Zipf:
    """Ranks 0 to n-1, drawn so that the top 20 % get 80 % of the draws.

    The exponent that does so depends on n, so it is searched: for 10,000 articles about 0.93.
    """

    def __init__(self, n: int) -> None:
        """Raises ValueError when there is nothing to draw from."""
        if n < 1:
            raise ValueError("popularity needs at least one rank")
        self.n = n
        self.exponent = _exponent(n)
        self._cumulative: array[float] = array(
            "d", itertools.accumulate(float(k) ** -self.exponent for k in range(1, n + 1))
        )

    def draw(self, rng: random.Random) -> int:
        """A rank, 0 the most popular."""
        return min(bisect_left(self._cumulative, rng.random() * self._cumulative[-1]), self.n - 1)

    def shares(self) -> Iterator[float]:
        """Of all draws, what each rank gets, the most popular first."""
        every = self._cumulative[-1]
        return (float(k) ** -self.exponent / every for k in range(1, self.n + 1))

    def share_of_top(self, part: float = TOP) -> float:
        """The share of all draws that the most popular ``part`` (0 to 1) of the ranks gets."""
        return self._cumulative[max(1, round(self.n * part)) - 1] / self._cumulative[-1]


def _exponent(n: int) -> float:
    top = max(1, round(n * TOP))
    low, high = 0.0, 3.0
    while high - low > 0.001:
        middle = (low + high) / 2
        head = sum(float(k) ** -middle for k in range(1, top + 1))
        tail = sum(float(k) ** -middle for k in range(top + 1, n + 1))
        low, high = (middle, high) if head / (head + tail) < SHARE else (low, middle)
    return (low + high) / 2
