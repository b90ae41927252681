"""What passes, what fails and what is no verdict; what follows from the boxes' CPU; what lies beyond."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling import demand, overload
from loadtests.ceiling.boxes import Box, Reading, group_programs
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


def test_a_box_between_two_readings() -> None:
    box = Box("app", "app", 0.25, 256 << 20, {}, None)
    before = Reading(at=10, cpu_ns=0, periods=0, throttled=0, memory=1)
    load = box.between(before, Reading(at=20, cpu_ns=2_000_000_000, periods=1000, throttled=600, memory=7))
    assert (load.cpu, load.utilisation, load.throttled, load.memory) == (0.2, 0.8, 0.6, 7)


def test_programs_are_told_apart_by_their_command() -> None:
    def line(pid: int, command: str, *ticks: int) -> str:
        return f"{pid} ({command}) S 1 1 1 0 -1 0 0 0 0 0 {' '.join(map(str, ticks))} 20 0 1 0"

    seconds = group_programs(
        [
            line(1, "s6-svscan", 1, 1, 0, 0),
            line(9, "python", 100, 50, 0, 0),
            line(20, "postgres", 10, 10, 30, 50),
            line(21, "postgres: a) b (", 100, 0, 0, 0),
            "nonsense",
            "",
        ]
    )
    assert seconds == {"supervisor": 0.02, "app": 1.5, "PostgreSQL": 2.0}


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
