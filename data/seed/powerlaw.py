"""Power laws with a bound: a few have very many, most have few, and nobody has more than the bound.

The bound and the shape are the same at every size of the dataset, so that the most followed reader's feed
costs as much among 1,000 users as among 100,000. Without a bound, the largest of N draws grows with N.
"""

from bisect import bisect_right
from itertools import accumulate

_HALVINGS = 80


class PowerLaw:
    """Counts k from 0 to ``cap`` with P(k) proportional to (k + shift)^-exponent (Zipf-Mandelbrot).

    ``shift`` is found so that the mean is ``mean``.
    """

    def __init__(self, mean: float, exponent: float, cap: int) -> None:
        self.cap = cap
        self.exponent = exponent
        self.shift = self._shift_for(mean)
        weights = self._weights(self.shift)
        total = sum(weights)
        self._cumulative = [reached / total for reached in accumulate(weights)]
        self.mean = sum(k * weight for k, weight in enumerate(weights)) / total

    def quantile(self, u: float) -> int:
        """The count that a share ``u`` of all lies at or below; ``u`` from 0 up to, not including, 1."""
        return min(bisect_right(self._cumulative, u), self.cap)

    def _weights(self, shift: float) -> list[float]:
        return [(k + shift) ** -self.exponent for k in range(self.cap + 1)]

    def _shift_for(self, mean: float) -> float:
        low, high = 1e-3, float(self.cap)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            weights = self._weights(middle)
            if sum(k * weight for k, weight in enumerate(weights)) / sum(weights) < mean:
                low = middle
            else:
                high = middle
        return high


def zipf(count: int, exponent: float) -> list[float]:
    """Cumulative shares of ranks 1 to ``count`` with weights rank^-exponent; look a draw up by bisection."""
    weights = [rank**-exponent for rank in range(1, count + 1)]
    total = sum(weights)
    return [reached / total for reached in accumulate(weights)]
