"""What passes, what fails and what is no verdict; when a box is saturated."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling import demand
from loadtests.ceiling.verdict import Block, Outcome, blocks, limits, outcome
from loadtests.load.samples import REFUSED

GOOD = Outcome(rate=100, completed_rate=99, achieved=0.998, error_share=0.0005, p95=499, backlog_growth=2)


def test_a_good_trial_passes_though_fewer_arrived_than_the_rate_says() -> None:
    assert GOOD.passed
    assert GOOD.valid
    assert dataclasses.replace(GOOD, completed_rate=90).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"p95": 501}, "p95 501 ms"),
        ({"p95": None}, "no request was answered"),
        ({"error_share": 0.001}, "errors"),
        ({"achieved": 0.98}, "achieved"),
        ({"backlog_growth": 16}, "backlog"),
    ],
)
def test_each_part_of_the_slo_is_asked_for(change: dict[str, Any], reason: str) -> None:
    assert reason in dataclasses.replace(GOOD, **change).failures()[0]


@pytest.mark.parametrize(
    ("generator", "idle", "errors", "said"),
    [
        ({"cpu_share": 0.71}, 0.3, {}, "71% of its CPU"),
        ({"late_share": 0.02}, 0.3, {}, "late with 2.0% of the arrivals"),
        ({}, 0.04, {}, "4% idle"),
    ],
)
def test_limited_by_what_measures(generator: dict[str, float], idle: float, errors: dict[str, int], said: str) -> None:
    fit = {"cpu_share": 0.69, "late_share": 0.009}
    assert limits({"generator": fit, "host_idle": 0.3}, {"status 503": 7}) == []
    (limit,) = limits({"generator": fit | generator, "host_idle": idle}, errors)
    assert said in limit


def test_arrivals_that_were_not_sent_are_the_stages_where_the_generator_is_fit() -> None:
    """A stage that keeps thousands waiting is what they would have waited for."""
    fit, refused = {"cpu_share": 0.6, "late_share": 0.0}, {REFUSED: 5}
    assert limits({"generator": fit, "host_idle": 0.3}, refused) == []
    late = limits({"generator": fit | {"late_share": 0.05}, "host_idle": 0.3}, refused)
    assert "could not send 5" in late[-1]


def second(arrivals: int, late: int, errors: int, in_flight: int = 0) -> dict[str, Any]:
    return {"offered": arrivals, "late": late, "errors": errors, "in_flight": in_flight}


def test_a_window_is_told_by_blocks_and_what_is_left_belongs_to_the_last() -> None:
    """Thirteen seconds: of five, and of eight; each second has other figures."""
    rows = [second(10 + n, n, n % 3) for n in range(13)]
    assert blocks(rows) == (Block(60, 10, 4), Block(148, 68, 8))
    assert blocks(rows[:4]) == (Block(46, 6, 3),), "less than one block is one"
    assert blocks(rows[:5]) == (Block(60, 10, 4),)
    assert blocks([]) == ()
    assert blocks([{"offered": 7, "errors": 1}]) == (), "a record that is older"


def test_a_generator_s_result_as_an_outcome() -> None:
    """Seven seconds in thirds of two: (1 + 2) / 2 in flight at first, (20 + 30) / 2 at last."""
    total = {"completed_rate": 9.5, "answered": 90, "sent": 120, "error_share": 0.25, "p95": 812.5, "errors": {"x": 30}}
    series = [second(10 + n, n, 0, flying) for n, flying in enumerate((1, 2, 100, 100, 100, 20, 30))]
    result = {"total": total, "series": series, "generator": {"cpu_share": 0.2, "late_share": 0.5}, "host_idle": None}
    shown = outcome(result, rate=17, busiest=0.6)
    assert (shown.rate, shown.completed_rate, shown.achieved) == (17, 9.5, 0.75)
    assert (shown.error_share, shown.p95, shown.backlog_growth) == (0.25, 812.5, 23.5)
    assert shown.limited_by == ("generator late with 50.0% of the arrivals",)
    assert (shown.busiest, shown.blocks) == (0.6, (Block(91, 21, 0),))
    nothing = outcome(result | {"total": total | {"sent": 0, "answered": 0}}, 17, None)
    assert (nothing.achieved, nothing.busiest) == (0.0, None)


def test_a_stage_that_does_not_keep_up_says_so() -> None:
    """A backlog may grow by ten, or by what arrives in 0.15 s."""
    assert GOOD.backlogs() == []
    assert dataclasses.replace(GOOD, backlog_growth=15).backlogs() == []
    assert dataclasses.replace(GOOD, backlog_growth=15.1).backlogs() == ["backlog grew by 15"]
    assert dataclasses.replace(GOOD, rate=20, backlog_growth=10).backlogs() == []
    assert dataclasses.replace(GOOD, rate=20, backlog_growth=10.6).backlogs() == ["backlog grew by 11"]
    assert dataclasses.replace(GOOD, achieved=0.99).backlogs() == []
    assert dataclasses.replace(GOOD, achieved=0.985).backlogs() == ["achieved 98.5% < 99% of offered"]


FIT = {"generator": {"cpu_share": 0.3, "late_share": 0.0}, "host_idle": 0.5, "errors": {}}


@pytest.mark.parametrize(
    ("off", "said"),
    [(0.1, []), (-0.1, []), (0.11, ["machine at 111%"]), (-0.2, ["machine at 80%"])],
)
def test_a_machine_at_another_speed_is_a_limit(off: float, said: list[str]) -> None:
    assert limits({**FIT, "speed_off": off}, {}) == [f"{speed} of its usual speed" for speed in said]


@pytest.mark.parametrize(
    ("quota", "utilisation", "throttled", "saturated"),
    [
        (0.25, 0.85, 0.0, True),
        (0.25, 0.7, 0.59, False),
        (0.25, 0.7, 0.61, True),  # it leaves three quarters of the time; four fifths of that are 0.6
        (0.125, 0.7, 0.69, False),
        (0.125, 0.7, 0.71, True),
        (0.125, 0.04, 0.016, False),  # by its periods it was in its quota for 84 % of them
        (1.0, 0.5, 0.0, False),
        (0.25, 0.0, 0.0, False),
    ],
)
def test_a_box_is_saturated_by_the_time_that_its_quota_holds_it_back(
    quota: float, utilisation: float, throttled: float, saturated: bool
) -> None:
    box = {"cpu": quota * utilisation, "utilisation": utilisation, "throttled": throttled}
    assert demand.is_saturated(box) is saturated
