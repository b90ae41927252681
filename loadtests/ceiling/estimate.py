"""The ceiling and its interval, from all windows near it at once, however each of them ended.

A search that gives up a rate at its first failure finds a ceiling that is too low, and cannot say how far it is off.
Here the share of bad requests is a curve over the rate, logistic in its logarithm (compare PLRsearch,
draft-vpolak-bmwg-plrsearch, which fits a loss ratio the same way), and each window is seen through the speed that the
machine had just then: a box that is a tenth slower meets a rate as if it were a tenth higher. Where the curve crosses
what the SLO allows is the ceiling. It is found by Bayes' rule on a grid of ceilings, slopes and speeds: nothing is
assumed to be normal, and windows that all pass or all fail need no rule of their own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.ceiling.sequential import SLO_LATE, evidence
from loadtests.ceiling.verdict import Outcome

# Further away than this factor the curve is another one.
NEAR = 1.5
# The grid: rates lie so far apart, relative, and each second one is tried as a ceiling, so many on either side.
APART = 0.01
EACH_SIDE = 25
# Of log odds over log rate. A queue with long requests rises slowly, one with short requests like a wall.
SLOPES = (6.0, 12.0, 24.0, 48.0, 96.0)
# Standard deviations of the machine's speed from window to window, relative, with how likely each is beforehand: what a
# request costs one box differs by 5 to 15 % within the kept runs.
SPEEDS = ((0.02, 0.2), (0.05, 0.3), (0.1, 0.3), (0.15, 0.2))
# Speeds further off than so many standard deviations are left out.
FURTHEST = 3
# No window is worth more independent requests than these: what it says is one speed, and one curve, that is not exact.
MOST_COUNTED = 300
ODDS = math.log(SLO_LATE / (1 - SLO_LATE))
# The machine's speed is taken to need about so many seconds to become another. A search that is not much longer meets
# few speeds, so that its ceiling is off with all its windows: this widens the interval. Calibrated, as the speeds are,
# against a stage whose ceiling is known (loadtests/tests/test_made_up_stage.py).
SPEED_SECONDS = 120
# The other part of what windows deviate by is the stage's own, bursts that one window meets and another does not, and
# counts in the share of late requests: half of the variance.
OWN = math.sqrt(0.5)
TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Estimate:
    """The ceiling in requests/s, and the interval that covers the true one 95 times in 100."""

    rate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Of the interval, relative to the ceiling."""
        return (self.high - self.low) / 2 / self.rate


def estimate(windows: Sequence[Outcome], middle: float, seconds: float) -> Estimate:
    """The ceiling from windows at any rates that took so many seconds; those near ``middle`` (requests/s) count.

    Raises ValueError where there are none.
    """
    seen = list(_seen([window for window in windows if middle / NEAR <= window.rate <= middle * NEAR]))
    if not seen:
        raise ValueError(f"no window near {middle:.1f} requests/s")
    centre = math.log(middle)
    weighed = []
    for slope in SLOPES:
        curves = [_curve(one, centre, slope) for one in seen]
        for speed, prior in SPEEDS:
            lower = lower_by(slope, OWN * speed)
            weights = normal(speed)
            for place in range(-EACH_SIDE, EACH_SIDE + 1):
                likely = math.log(prior) + sum(_averaged(curve, place, weights) for curve in curves)
                weighed.append((centre + 2 * APART * place - lower, speed, likely))
    most = max(likely for _, _, likely in weighed)
    chances = [(ceiling, speed, math.exp(likely - most)) for ceiling, speed, likely in weighed]
    total = sum(chance for _, _, chance in chances)
    mean = sum(chance * ceiling for ceiling, _, chance in chances) / total
    of_speed = shared(seconds)
    squares = sum(chance * ((ceiling - mean) ** 2 + of_speed * speed**2) for ceiling, speed, chance in chances)
    off = TWO_SIDED_95 * math.sqrt(squares / total)
    return Estimate(math.exp(mean), math.exp(mean - off), math.exp(mean + off))


def _seen(windows: Sequence[Outcome]) -> Iterator[tuple[float, float, float]]:
    """Of each window, the logarithm of its rate, and its bad and good requests, as many as count as independent."""
    together: dict[float, list[Outcome]] = {}
    for window in windows:
        together.setdefault(window.rate, []).append(window)
    for rate, alike in together.items():
        dispersed = evidence(alike).dispersion
        for window in alike:
            shown = evidence([window])
            # One whose errors count for many is not steadier than the others, in which they do not.
            dispersion = max(dispersed, shown.dispersion) if shown.by_errors else dispersed
            counted = 1 / max(dispersion, shown.arrivals / MOST_COUNTED, 1)
            yield math.log(rate), shown.bad * counted, shown.good * counted


def _curve(seen: tuple[float, float, float], centre: float, slope: float) -> list[float]:
    """The logarithms of how likely a window is with the ceiling at each rate of the grid, its middle at ``centre``."""
    reach = 2 * EACH_SIDE + len(normal(SPEEDS[-1][0])) // 2
    return [log_likelihood(seen, centre + APART * place, slope) for place in range(-reach, reach + 1)]


def log_likelihood(seen: tuple[float, float, float], ceiling: float, slope: float) -> float:
    """Of a window's bad and good requests, where its rate and the ceiling (logarithms) are what they are."""
    rate, bad, good = seen
    odds = ODDS + slope * (rate - ceiling)
    # ln(1 + e^odds), without an overflow
    soft = odds if odds > 30 else math.log1p(math.exp(odds))
    return bad * odds - (bad + good) * soft


def _averaged(curve: Sequence[float], place: int, weights: Sequence[float]) -> float:
    """A window's logarithm at a ceiling of the grid, over all speeds that the machine may have had."""
    first = len(curve) // 2 + 2 * place - len(weights) // 2
    most = max(curve[first : first + len(weights)])
    return most + math.log(sum([weight * math.exp(curve[first + at] - most) for at, weight in enumerate(weights)]))


def shared(seconds: float) -> float:
    """Of the variance of the speed, how much the mean over so many seconds has: 1 over a moment, none for ever.

    That of a speed that forgets exponentially what it was (an Ornstein-Uhlenbeck process).
    """
    times = seconds / SPEED_SECONDS
    return 2 / times * (1 - (1 - math.exp(-times)) / times)


def normal(deviation: float) -> list[float]:
    """Weights of a normal distribution on the grid, around its middle; they sum to 1."""
    reach = round(FURTHEST * deviation / APART)
    weights = [math.exp(-((APART * place / deviation) ** 2) / 2) for place in range(-reach, reach + 1)]
    return [weight / sum(weights) for weight in weights]


def lower_by(slope: float, deviation: float) -> float:
    """By how much less than where the curve crosses the SLO a rate must be, as a logarithm, so that the mean over
    windows that deviate so much is within it: a bad one adds more than a good one takes away.
    """
    low, high = 0.0, FURTHEST * deviation
    weights = normal(deviation)
    middle_one = len(weights) // 2
    for _ in range(20):
        middle = (low + high) / 2
        share = sum(
            weight / (1 + math.exp(-ODDS - slope * (APART * (place - middle_one) - middle)))
            for place, weight in enumerate(weights)
        )
        low, high = (middle, high) if share > SLO_LATE else (low, middle)
    return high
