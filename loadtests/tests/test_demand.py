"""Demand as the slope of a line, worked out by hand."""

import pytest

from loadtests.ceiling.demand import Line, demands, is_saturated, line


def test_points_on_a_line_give_it_back() -> None:
    found = line([(10, 0.03), (20, 0.05), (40, 0.09)])
    assert (found.base, found.slope) == pytest.approx((0.01, 0.002))
    assert (found.error, found.r2) == pytest.approx((0, 1), abs=1e-9)
    assert found.points == 3


def test_points_beside_a_line_weigh_by_one_over_the_square_of_their_rate() -> None:
    """Weights 1, 1/4, 1/16: means 4/3 and 3.47619, slope 1.16667 / 0.66667, residuals 0.10714, -0.64286, 0.85714."""
    found = line([(1, 3), (2, 4), (4, 9)])
    assert found.slope == pytest.approx(1.75)
    assert found.base == pytest.approx(8 / 7)
    assert found.error == pytest.approx(0.490990, abs=1e-6)
    assert found.r2 == pytest.approx(0.927027, abs=1e-6)


def test_no_box_uses_less_than_nothing_at_rest() -> None:
    """The line would begin at -0.357; through zero it has the mean quotient, (1 + 1.25 + 1.25) / 3."""
    found = line([(1, 1), (2, 2.5), (4, 5)])
    assert found.base == 0
    assert found.slope == pytest.approx(3.5 / 3)
    assert found.error == pytest.approx(1 / 12)
    assert found.r2 == pytest.approx(0.967059, abs=1e-6)


def test_slow_rates_are_rates_too() -> None:
    found = line([(0.1, 0.012), (0.2, 0.014), (0.4, 0.018)])
    assert (found.base, found.slope) == pytest.approx((0.01, 0.02))


def test_a_line_that_explains_less_than_the_mean_explains_nothing() -> None:
    """Through zero with the mean quotient of 0.65."""
    found = line([(1, 0.2), (2, 3), (4, 1)])
    assert found.base == 0
    assert found.slope == pytest.approx((0.2 + 1.5 + 0.25) / 3)
    assert found.r2 is not None
    assert found.r2 < 1


@pytest.mark.parametrize(
    ("points", "mean"),
    [
        ([(10, 0.03), (20, 0.05)], 0.00275),
        ([(10, 0.03), (11, 0.05), (12.9, 0.0129)], (0.003 + 0.05 / 11 + 0.001) / 3),
        ([(10, 0.06), (20, 0.05), (40, 0.04)], (0.006 + 0.0025 + 0.001) / 3),
    ],
)
def test_too_few_rates_or_a_line_that_falls_are_no_line(points: list[tuple[float, float]], mean: float) -> None:
    found = line(points)
    assert found == Line(0.0, found.slope, None, None, len(points))
    assert found.slope == pytest.approx(mean)


def test_three_rates_far_enough_apart_are_a_line() -> None:
    assert line([(10, 0.03), (11, 0.032), (13, 0.036)]).base == pytest.approx(0.01)


def test_equal_use_at_all_rates_is_no_demand() -> None:
    assert line([(1, 2), (2, 2), (4, 2)]).error is None


def test_the_busiest_box_comes_first() -> None:
    points = {"db": [(10, 0.02), (20, 0.03), (40, 0.05)], "app": [(10, 0.04), (20, 0.08), (40, 0.16)]}
    app, db = demands({"db": 0.1, "app": 0.2}, {"app": 0.25, "db": 0.5}, points)
    assert (app.name, app.cpu, app.capacity, app.utilisation) == ("app", 0.2, 0.25, 0.8)
    assert (db.name, db.utilisation) == ("db", 0.2)
    assert (app.per_request_ms, db.per_request_ms) == pytest.approx((4, 1))
    assert (app.line.base, db.line.base) == pytest.approx((0, 0.01), abs=1e-12)


@pytest.mark.parametrize(
    ("cpu", "utilisation", "throttled", "saturated"),
    [
        (0.2125, 0.85, 0.0, True),
        (0.21, 0.84, 0.0, False),
        (0.125, 0.5, 0.601, True),  # four fifths of the three quarters of a time in which a quota of 0.25 is spent
        (0.125, 0.5, 0.59, False),
        (0.2, 0.25, 0.161, True),  # of the fifth that a quota of 0.8 is spent
        (0.2, 0.25, 0.15, False),
        (1.0, 0.5, 0.0, False),  # a quota of two cores is never spent
        (1.0, 0.5, 1.0, False),
        (0.0, 0.0, 0.0, False),
        (0.0, 0.0, 0.9, False),  # what used nothing has no quota that is known
    ],
)
def test_a_box_has_no_cpu_left(cpu: float, utilisation: float, throttled: float, saturated: bool) -> None:
    assert is_saturated({"cpu": cpu, "utilisation": utilisation, "throttled": throttled}) is saturated
