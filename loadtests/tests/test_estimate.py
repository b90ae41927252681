"""The ceiling and its interval from windows whose shares follow a curve that is known."""

import math
from statistics import NormalDist

import pytest

from loadtests.ceiling import estimate as module
from loadtests.ceiling.estimate import Estimate, log_likelihood, lower_by, normal, shared
from loadtests.ceiling.sequential import evidence
from loadtests.ceiling.verdict import Block, Outcome


def window(rate: float, share: float, blocks: int = 100, arrivals: int = 1000) -> Outcome:
    """Blocks that are all alike."""
    made = (Block(arrivals, round(share * arrivals), 0),) * blocks
    return Outcome(rate, rate, achieved=1, error_share=0, p95=9, backlog_growth=0, blocks=made)


def on_curve(rate: float, ceiling: float = 100, slope: float = 24) -> Outcome:
    return window(rate, 1 / (1 + 19 * (ceiling / rate) ** slope))


def estimate(windows: list[Outcome], middle: float, seconds: float = 120) -> Estimate:
    return module.estimate(windows, middle, seconds)


RATES = (70, 85, 95, 103, 110, 130)


def test_windows_on_a_curve_give_its_ceiling() -> None:
    """Nothing deviates, so that the interval is that of the machine's speed alone: at least 1.96 · 0.86 · 2 %."""
    found = estimate([on_curve(rate) for rate in RATES], middle=96)
    assert found.rate == pytest.approx(100, rel=0.012)
    assert 0.027 < found.half_width < 0.06
    assert found.high / found.rate == pytest.approx(found.rate / found.low)


def test_the_order_of_windows_and_the_middle_do_not_matter() -> None:
    windows = [on_curve(rate) for rate in RATES]
    one, other = estimate(windows, 96), estimate(windows[::-1], 105)
    assert one.rate == pytest.approx(other.rate, rel=0.005)


def test_windows_that_deviate_widen_it() -> None:
    even = [on_curve(rate) for rate in RATES]
    uneven = [on_curve(rate, ceiling=ceiling) for rate, ceiling in zip(RATES, (88, 112, 90, 110, 89, 111), strict=True)]
    assert estimate(uneven, 100).half_width > 2 * estimate(even, 100).half_width


def test_a_wall_between_two_rates_needs_no_slope() -> None:
    found = estimate([window(90, 0), window(91, 0), window(109, 0.5), window(111, 0.7)], 100)
    assert 83 < found.low < found.rate < found.high < 120


def test_few_requests_say_less_than_many() -> None:
    few = [window(rate, share, blocks=2, arrivals=40) for rate, share in ((90, 0.025), (100, 0.05), (110, 0.1))]
    many = [window(rate, share, blocks=200, arrivals=40) for rate, share in ((90, 0.025), (100, 0.05), (110, 0.1))]
    assert estimate(few, 100).half_width > 1.5 * estimate(many, 100).half_width


def test_windows_far_away_do_not_count() -> None:
    """Half as much again is near; more is not, and a stage that fails there at random says nothing of the ceiling."""
    near = [on_curve(rate) for rate in RATES]
    assert estimate([*near, window(60, 0.9), window(160, 0)], 100) == estimate(near, 100)
    assert estimate([*near, window(68, 0.9)], 100) != estimate(near, 100)
    assert estimate([*near, window(149, 0)], 100) != estimate(near, 100)
    with pytest.raises(ValueError, match=r"no window near 10\.0"):
        estimate(near, 10)


def test_half_as_much_again_is_near() -> None:
    near = [on_curve(rate) for rate in (80, 90, 100)]
    assert estimate([*near, window(60, 0.9)], 90) != estimate(near, 90)
    assert estimate([*near, window(135, 0)], 90) != estimate(near, 90)


def test_where_nothing_is_known_any_ceiling_of_the_grid_may_be() -> None:
    """Evenly from half a logarithm below to half above, in 51 places: a variance of (51² - 1) / 12 · 0.02²."""
    found = estimate([window(100, 0, blocks=1, arrivals=1)], 100)
    even = 1.96 * math.sqrt((51**2 - 1) / 12 * 0.02**2)
    assert math.log(found.high / found.low) / 2 == pytest.approx(even, rel=0.06)


def test_what_a_window_is_worth() -> None:
    """One whose errors count for fifty is worth no more than its own blocks say, one that is late what all say."""
    failed = Outcome(10, 10, 1, 0, 9, 0, blocks=(Block(50, 0, 1), Block(50, 0, 0)))
    late = Outcome(10, 10, 1, 0, 9, 0, blocks=(Block(100, 0, 0), Block(100, 60, 0)))
    pooled = evidence([failed, late])
    assert not pooled.by_errors
    assert evidence([failed]).dispersion > pooled.dispersion
    assert evidence([late]).dispersion > pooled.dispersion
    first, second = module._seen([failed, late])
    assert first == (math.log(10), *(value / evidence([failed]).dispersion for value in (50, 50)))
    assert second == (math.log(10), *(value / pooled.dispersion for value in (60, 140)))
    (most,) = module._seen([window(10, 0.1)])
    assert most == pytest.approx((math.log(10), 30, 270)), "at most three hundred"


def test_errors_make_a_ceiling_as_late_requests_do() -> None:
    """A thousandth failed is as much as a twentieth late."""
    late = [window(rate, share) for rate, share in ((80, 0.0), (100, 0.05), (120, 0.5))]
    failed = [
        Outcome(rate, rate, 1, 0, 9, 0, blocks=(Block(1000, 0, errors),) * 100)
        for rate, errors in ((80, 0), (100, 1), (120, 10))
    ]
    assert estimate(failed, 100).rate == pytest.approx(estimate(late, 100).rate, rel=0.02)


def test_the_likelihood_of_one_window() -> None:
    """At the ceiling 5 % are bad: 0.05³ · 0.95⁵. At twice the rate and a slope of 10 the odds are 1024 / 19."""
    at = log_likelihood((math.log(70), 3, 5), math.log(70), 10)
    assert at == pytest.approx(3 * math.log(0.05) + 5 * math.log(0.95))
    above = log_likelihood((math.log(140), 2, 1), math.log(70), 10)
    assert above == pytest.approx(2 * math.log(1024 / 1043) + math.log(19 / 1043))
    assert log_likelihood((9.0, 2, 3), 1.0, 96) == pytest.approx(-3 * (8 * 96 - math.log(19)))


def test_a_speed_that_is_not_known_is_a_normal_one() -> None:
    """Of 2 %: from -6 to 6 % in steps of one, e^(-1/8) as likely at one as at none."""
    weights = normal(0.02)
    assert len(weights) == 13
    assert sum(weights) == pytest.approx(1)
    assert weights[7] / weights[6] == pytest.approx(math.exp(-1 / 8))
    assert weights == weights[::-1]


def test_a_speed_that_is_not_known_is_averaged_over() -> None:
    """The window of a grid of seven around place -1, which is two steps down: (2 · 1 + 3 · 2 + 5) / 6, as logarithms.
    """
    curve = [math.log(value) for value in (7, 1, 2, 3, 5, 11, 13, 17, 19)]
    shown = module._averaged(curve, -1, [1 / 6, 1 / 2, 1 / 3])
    assert math.exp(shown) == pytest.approx(1 / 6 + 2 / 2 + 3 / 3)
    assert math.exp(module._averaged(curve, 0, [1 / 6, 1 / 2, 1 / 3])) == pytest.approx(3 / 6 + 5 / 2 + 11 / 3)


@pytest.mark.parametrize(("slope", "deviation"), [(12, 0.05), (24, 0.05), (48, 0.02), (6, 0.1)])
def test_the_mean_over_windows_is_within_the_slo_a_little_below_the_crossing(slope: float, deviation: float) -> None:
    lower = lower_by(slope, deviation)
    normal = NormalDist(0, deviation)
    speeds = [normal.inv_cdf((n + 0.5) / 5000) for n in range(5000)]
    mean = sum(1 / (1 + 19 * math.exp(-slope * (speed - lower))) for speed in speeds) / 5000
    assert mean == pytest.approx(0.05, rel=0.03)
    assert lower > 0


def test_a_longer_search_meets_more_speeds() -> None:
    """The variance of the mean over as long as a speed takes to change is 2 · e⁻¹ of it, over ten times that 0.18."""
    assert shared(120) == pytest.approx(2 / math.e)
    assert shared(1200) == pytest.approx(0.2 * (1 - (1 - math.exp(-10)) / 10))
    assert shared(0.1) == pytest.approx(1, abs=0.001)
    windows = [on_curve(rate) for rate in RATES]
    short, long = estimate(windows, 96, seconds=120), estimate(windows, 96, seconds=1200)
    assert short.rate == long.rate
    assert short.half_width > 1.3 * long.half_width


def test_the_half_width_is_relative() -> None:
    assert Estimate(rate=50, low=40, high=65).half_width == 0.25
