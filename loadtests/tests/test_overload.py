"""What lies beyond the ceiling: what is left, why, and how soon the stage is back."""

from typing import Any

import pytest

from loadtests.ceiling import overload
from loadtests.load.samples import REFUSED
from loadtests.report import words

FIT = {"generator": {"cpu_share": 0.3, "late_share": 0.0}, "host_idle": 0.5, "errors": {}}


def rows(good: int, errors: int, p95: float | None, seconds: int, offered: int) -> list[dict[str, Any]]:
    row = {"good": good, "errors": errors, "p95": p95, "offered": offered, "completed": good + 7, "in_flight": 12}
    return [dict(row) for _ in range(seconds)]


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


def test_twice_and_three_times_the_ceiling_and_then_well_below_it() -> None:
    assert overload.profile(50, 30, 20) == [[30, 100], [30, 150], [20, 35]]


@pytest.mark.parametrize(("good", "verdict"), [(80, "graceful"), (79, "cliff")])
def test_four_fifths_of_the_goodput_are_graceful(good: int, verdict: str) -> None:
    series = rows(95, 100, 450, 5, 200) + rows(good, 200, 480, 5, 300) + rows(70, 0, 40, 10, 70)
    judged = overload.judge({"profile": overload.profile(100, 5, 10), "series": series, "stretches": [FIT] * 3}, 100)
    assert (judged["verdict"], judged["back_to"], judged["limits"]) == (verdict, 0.7, [])


def test_what_limited_a_load_is_told_once_and_that_of_the_recovery_apart() -> None:
    """Arrivals that were refused are told beside what made the generator slow, of each stretch its own."""
    slow = FIT | {"host_idle": 0.01}
    stretches = [slow, slow, slow | {"errors": {REFUSED: 3}}]
    series = rows(95, 100, 450, 5, 200) + rows(80, 200, 480, 5, 300) + rows(70, 0, 40, 10, 70)
    judged = overload.judge({"profile": overload.profile(100, 5, 10), "series": series, "stretches": stretches}, 100)
    assert judged["limits"] == ["host with 1% idle CPU"]
    assert judged["recovery_limits"] == ["host with 1% idle CPU", "generator could not send 3 arrivals"]
    assert (judged["kept_at"], judged["verdict"]) == (3, "no verdict")


def test_the_seconds_in_which_the_queue_fills_are_left_out() -> None:
    assert [overload.left_out_of(seconds) for seconds in (1, 5, 7, 10, 15, 17, 30)] == [1, 1, 2, 3, 4, 5, 5]


def test_little_s_formula_tells_how_long_an_answer_takes() -> None:
    """Ten seconds at 200/s, of which three are left out: (60 + 6 · 65) in flight by (41 + 6 · 48) answers."""
    beginning = rows(200, 0, 10, 3, 200)
    first = rows(20, 100, 700, 1, 200) + rows(4, 150, 1300, 6, 200)
    for row, completed, flying in zip(first, (41, *[48] * 6), (60, *[65] * 6), strict=True):
        row |= {"completed": completed, "in_flight": flying}
    third = rows(0, 300, None, 10, 300)
    for row in third:
        row |= {"completed": 0}
    result = {
        "profile": overload.profile(100, 10, 4),
        "series": beginning + first + third + rows(70, 0, 40, 4, 70),
        "stretches": [FIT] * 3,
    }
    judged = overload.judge(result, 100)
    twice, thrice = judged["over"]
    assert twice["left_out"] == 3
    assert twice["goodput"] == pytest.approx(44 / 7)
    assert twice["share"] == pytest.approx(0.44 / 7)
    assert twice["error_share"] == pytest.approx(1000 / 1400)
    assert twice["p95"] == 1300
    assert twice["answered_rate"] == pytest.approx(329 / 7)
    assert twice["in_flight"] == pytest.approx(450 / 7)
    assert twice["queue_seconds"] == pytest.approx(450 / 329)
    assert (thrice["queue_seconds"], thrice["p95"]) == (None, None)
    assert (twice["offered_rate"], thrice["offered_rate"]) == (200, 300)
    assert (judged["kept"], judged["kept_at"], judged["verdict"]) == (0, 3, "cliff")


def test_what_is_offered_is_told_in_units_of_what_the_busiest_box_can_do() -> None:
    """0.01 CPU at rest and 2.6 ms a request are 0.26 CPU at 96.1538/s, of 0.125."""
    over: list[dict[str, Any]] = [{"offered_rate": 50.0, "times": 2.0}, {"offered_rate": 250 / 2.6, "times": 3.0}]
    boxes: list[dict[str, Any]] = [
        {"base_cpu": 0.01, "per_request_ms": 2.6, "capacity": 0.125},
        {"base_cpu": 9, "per_request_ms": 9, "capacity": 9},
    ]
    twice, thrice = overload.of_capacity(over, boxes)["over"]
    assert twice == {"offered_rate": 50.0, "times": 2.0, "capacity_times": pytest.approx(1.12)}
    assert thrice["capacity_times"] == pytest.approx(2.08)


def test_recovery_is_three_seconds_in_a_row_and_one_without_arrivals_breaks_nothing() -> None:
    well, late = rows(1, 0, 500, 1, 9), rows(1, 0, 500.1, 1, 9)
    failed, empty = rows(1, 1, 9, 1, 9), rows(0, 0, None, 1, 0)
    assert overload.seconds_to_recover(well * 3) == 0
    assert overload.seconds_to_recover(well * 2 + late + well * 3) == 3
    assert overload.seconds_to_recover(failed + well + empty + well) == 1
    assert overload.seconds_to_recover(well * 2 + failed + well * 2) is None


@pytest.mark.parametrize(
    ("verdict", "queue_seconds", "said"),
    [
        ("cliff", 1.36, "about 1 360 ms: longer than the 500 ms of the SLO. So the stage answers, but too"),
        ("graceful", 0.31, "about 310 ms: within the 500 ms of the SLO. So it is graceful."),
        ("cliff", 0.31, "that alone does not explain why it is a cliff"),
        ("graceful", 1.36, "But 96 % of the answers came within it: most of those in flight were kept"),
    ],
)
def test_why_it_is_graceful_or_a_cliff_is_told_from_how_long_an_answer_takes(
    verdict: str, queue_seconds: float, said: str
) -> None:
    load = {"times": 3.0, "queue_seconds": queue_seconds, "in_flight": 64.0, "answered_rate": 47.0}
    load |= {"goodput": 45.0, "capacity_times": 2.04}
    run = {"overload": {"verdict": verdict, "kept_at": 3.0, "over": [{"times": 2.0}, load]}, "slo": {"p95_ms": 500.0}}
    text = words.why_overloaded(run)
    assert said in text
    assert text.startswith("At 3 × the ceiling (2.0 × what its busiest box can do) 64 requests were in flight and 47 a")


def test_nothing_is_told_of_why_where_nothing_is_known() -> None:
    slo = {"p95_ms": 500.0}
    old = {"verdict": "cliff", "kept_at": 2.0, "over": [{"times": 2.0}, {"times": 3.0}]}
    assert words.why_overloaded({"overload": old, "slo": slo}) == ""
    assert words.why_overloaded({"overload": old | {"verdict": "no verdict"}, "slo": slo}) == ""
    assert words.why_overloaded({"overload": None, "slo": slo}) == ""
