"""What passes, what fails and what is no verdict; what follows from the boxes' CPU; what lies beyond."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling import demand, overload
from loadtests.ceiling.speed import Speeds
from loadtests.ceiling.verdict import Outcome, limits
from loadtests.report import words
from loadtests.samples import REFUSED

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


def test_demand_is_utilisation_by_throughput() -> None:
    app, db = demand.demands({"db": 0.1, "app": 0.2}, {"app": 0.25, "db": 0.25}, throughput=100)
    assert (app.name, db.name) == ("app", "db")
    assert app.per_request_ms == pytest.approx(2.0)
    assert app.utilisation == pytest.approx(0.8)


def test_doubling_the_saturated_box_helps_until_the_next_one() -> None:
    found = demand.demands({"app": 0.2, "db": 0.16}, {"app": 0.25, "db": 0.25}, throughput=100)
    predicted = demand.predictions(found, 100)
    assert predicted["app"] == pytest.approx(125), "then db is as busy as app was"
    assert predicted["db"] == pytest.approx(100), "doubling another does nothing"


def test_splitting_a_box_is_bounded_by_the_costlier_program() -> None:
    assert demand.if_split({"app": 0.15, "PostgreSQL": 0.08, "supervisor": 0.02}, 100) == pytest.approx(25 / 17 * 100)
    assert demand.if_split({"app": 0.2}, 100) is None


@pytest.mark.parametrize(
    ("off", "said"),
    [(0.1, []), (-0.1, []), (0.11, ["machine at 111%"]), (-0.2, ["machine at 80%"])],
)
def test_a_machine_at_another_speed_is_a_limit(off: float, said: list[str]) -> None:
    assert limits({**FIT, "speed_off": off}, {}) == [f"{speed} of its usual speed" for speed in said]


def test_the_usual_speed_is_the_median_of_the_trials_so_far() -> None:
    """300, 310, 300, 400, 305 ns a hash: the fourth is against the median of four, 305; each is a trial's whole."""
    speeds = Speeds()
    off = []
    for ns in (300.0, 310.0, 300.0, 400.0, 305.0):
        result: dict[str, Any] = {"canary": {"ns": ns}, "stretches": [{"canary": {"ns": 2 * ns}}, {"canary": None}]}
        speeds.tell(result)
        off.append(result["speed_off"])
        assert result["stretches"][0]["speed_off"] == pytest.approx((1 + off[-1]) / 2 - 1, abs=1e-4)
        assert "speed_off" not in result["stretches"][1]
    assert off == pytest.approx([0.0, 305 / 310 - 1, 0.0, 305 / 400 - 1, 0.0], abs=1e-4)
    speeds.tell({"canary": None})


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


FIT = {"generator": {"cpu_share": 0.3, "late_share": 0.0}, "host_idle": 0.5, "errors": {}}


def rows(good: int, errors: int, p95: float | None, seconds: int, offered: int) -> list[dict[str, Any]]:
    return [{"good": good, "errors": errors, "p95": p95, "offered": offered} for _ in range(seconds)]


def test_a_cliff_and_no_recovery() -> None:
    result = {
        "profile": overload.profile(100, 5, 10),
        "series": rows(90, 110, 400, 5, 200) + rows(30, 270, 900, 5, 300) + rows(0, 70, 3000, 10, 70),
        "stretches": [FIT] * 3,
    }
    judged = overload.judge(result, 100)
    assert judged["verdict"] == "cliff"
    assert judged["kept"] == pytest.approx(0.3)
    assert judged["over"][0]["share"] == pytest.approx(0.9)
    assert judged["recovery_seconds"] is None
    assert judged["watched_seconds"] == 10


def test_graceful_and_back_after_four_seconds() -> None:
    calm = rows(70, 0, 40, 2, 70) + rows(0, 0, 900, 2, 70) + rows(70, 0, 50, 6, 70)
    result = {
        "profile": overload.profile(100, 5, 10),
        "series": rows(95, 100, 450, 5, 200) + rows(85, 200, 480, 5, 300) + calm,
        "stretches": [FIT] * 3,
    }
    judged = overload.judge(result, 100)
    assert judged["verdict"] == "graceful"
    assert judged["recovery_seconds"] == 4


@pytest.mark.parametrize(
    ("tired", "twice", "verdict", "at"),
    [
        ([0], 95, "graceful", 3),
        ([1], 95, "no verdict", 2),
        ([1], 70, "cliff", 2),
        ([0, 1], 70, "no verdict", 3),
        ([2], 95, "graceful", 3),
    ],
)
def test_where_the_generator_is_late_the_next_lower_load_decides(
    tired: list[int], twice: int, verdict: str, at: float
) -> None:
    """Whatever it is over the whole, recovery included; who fails at twice the load is a cliff already."""
    stretches = [FIT] * 3
    for place in tired:
        stretches[place] = FIT | {"generator": {"cpu_share": 0.5, "late_share": 0.3}}
    series = rows(twice, 100, 450, 5, 200) + rows(85, 200, 480, 5, 300) + rows(70, 0, 40, 10, 70)
    judged = overload.judge({"profile": overload.profile(100, 5, 10), "series": series, "stretches": stretches}, 100)
    assert (judged["verdict"], judged["kept_at"]) == (verdict, at)
    assert bool(judged["recovery_limits"]) is (2 in tired)
    assert words.kept(judged) == {
        "graceful": "85 %, graceful",
        "cliff": "70 % at 2 ×, cliff",
        "no verdict": "no verdict",
    }[verdict]
    assert words.recovered(judged, "never") == ("no verdict" if 2 in tired else "0 s")
