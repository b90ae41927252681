"""The queueing model, against queues that have an answer of their own."""

import math

import pytest

from loadtests.ceiling.prediction import Model, Place, fitted

BOX = Place(boxes=1, capacity=0.5, period=0.02, base=0.05, demand=0.005)
CORE = Place(boxes=1, capacity=1, period=0.1, base=0, demand=0.02)
"""A whole core, whose quota never stalls: M/M/1 with 50 requests/s."""


def test_the_wait_at_a_box() -> None:
    """(0.05 + 40 · 0.005) / 0.5 is half busy. A request takes 10 ms; others ahead of it, with c² = 3, 0.5 · 10 · 4 / 2
    / 0.5 = 20; and with a chance of a half the quota is spent, for half of 10 ms: 2.5.
    """
    assert BOX.utilisation(40) == pytest.approx(0.5)
    assert BOX.mean_wait(40, 3) == pytest.approx(0.0325)
    assert Model({"box": BOX}, 3).p95_ms(40) == pytest.approx(math.log(20) * 32.5)


def test_two_boxes_share_the_work_and_what_they_use_at_rest() -> None:
    """A quarter busy: 10 ms, 0.25 · 10 · 4 / 2 / 0.75 = 6.667 and 1.25."""
    two = Place(boxes=2, capacity=0.5, period=0.02, base=0.05, demand=0.005)
    assert two.mean_wait(40, 3) == pytest.approx(0.0179167, abs=1e-7)


def test_a_box_that_cannot_keep_up_never_answers() -> None:
    assert BOX.mean_wait(90, 3) == math.inf
    assert BOX.mean_wait(89.99, 3) < math.inf


def test_more_than_a_core_stalls_no_one() -> None:
    assert Place(1, 2, 0.1, 0, 0.02).mean_wait(50, 1) == pytest.approx(0.02 / 2 / (1 - 0.5))


def test_one_exponential_queue_has_the_ceiling_that_the_textbook_gives() -> None:
    """Over 500 ms stay exp(-(50 - λ) / 2) of all: 5 % at λ = 50 - 2 ln 20."""
    assert Model({"box": CORE}, 1).ceiling(500) == pytest.approx(50 - 2 * math.log(20))
    assert Model({"box": CORE}, 1).ceiling(250) == pytest.approx(50 - 4 * math.log(20))


def test_waits_at_several_boxes_add_up() -> None:
    """Of two alike, each may take half of the time: 5 % are over 250 ms at 50 - 4 ln 20. One of no demand takes none.
    """
    idle = Place(1, 1, 0.1, 0, 0)
    assert Model({"one": CORE, "other": CORE, "idle": idle}, 1).ceiling(500) == pytest.approx(50 - 4 * math.log(20))


def test_a_stage_too_slow_for_one_request_has_no_ceiling() -> None:
    assert Model({"box": Place(1, 1, 0.1, 0, 0.2)}, 1).ceiling(500) == pytest.approx(0, abs=1e-9)


def test_the_load_at_rest_is_not_there_for_requests() -> None:
    """It takes a tenth of the core: 1 - (0.1 + 0.02 λ) is 0.02 · ln 20 / 0.5 at the ceiling, as far as others are
    ahead.
    """
    found = Model({"box": Place(1, 1, 0.1, 0.1, 0.02)}, 1).ceiling(500)
    assert 0.1 + 0.02 * found == pytest.approx(1 - 0.02 * math.log(20) / 0.5)


def test_twice_as_many_boxes_hold_twice_as_much_until_another_is_the_limit() -> None:
    model = Model({"app": CORE}, 1)
    assert model.doubled("app").ceiling(500) == pytest.approx(2 * model.ceiling(500))
    assert model.doubled("app").places["app"] == Place(2, 1, 0.1, 0, 0.02)
    with_rest = Model({"app": BOX, "db": CORE}, 2).doubled("app")
    assert with_rest.places == {"app": Place(2, 0.5, 0.02, 0.1, 0.005), "db": CORE}
    assert with_rest.lumps == 2
    assert with_rest.doubled("app").places["app"] == Place(4, 0.5, 0.02, 0.2, 0.005)


def test_two_programs_with_a_box_each() -> None:
    """Of 20 ms the app's are 12, PostgreSQL's 6 and the supervisor's 2, which runs beside both."""
    model = Model({"box": CORE, "cdn": BOX}, 1).split("box", {"PostgreSQL": 0.3, "app": 0.6, "supervisor": 0.1})
    assert model is not None
    assert list(model.places) == ["cdn", "app", "PostgreSQL"]
    assert model.places["app"].demand == pytest.approx(0.014)
    assert model.places["PostgreSQL"].demand == pytest.approx(0.008)
    assert model.places["cdn"] == BOX
    assert model.lumps == 1


def test_shares_need_not_sum_to_one() -> None:
    model = Model({"box": CORE}, 1).split("box", {"a": 3, "b": 1})
    assert model is not None
    assert {name: place.demand for name, place in model.places.items()} == {"a": pytest.approx(0.015), "b": 0.005}


@pytest.mark.parametrize("programs", [{}, {"app": 1.0}, {"app": 0.98, "other": 0.02}, {"app": 98, "other": 2}])
def test_one_program_cannot_be_split(programs: dict[str, float]) -> None:
    assert Model({"box": CORE}, 1).split("box", programs) is None


def test_a_program_of_a_little_more_can() -> None:
    assert Model({"box": CORE}, 1).split("box", {"app": 0.979, "other": 0.021}) is not None


@pytest.mark.parametrize("lumps", [0, 0.5, 4, 96])
def test_lumps_are_those_that_fit_the_waits_that_were_seen(lumps: float) -> None:
    true = Model({"box": BOX}, lumps)
    found = fitted({"box": BOX}, [(rate, true.p95_ms(rate)) for rate in (20, 45, 70)])
    assert found == true


def test_a_short_wait_weighs_as_much_as_a_long_one() -> None:
    """At 10/s a c² of 1, at 44/s one of 2: three to one, by logarithms, where by ms the long wait would decide."""
    low, high = Model({"box": CORE}, 1), Model({"box": CORE}, 3)
    seen = [(10, high.p95_ms(10)), (10, high.p95_ms(10)), (44, low.p95_ms(44))]
    assert fitted({"box": CORE}, seen) == Model({"box": CORE}, 1)


def test_where_nothing_was_seen_nothing_is_predicted() -> None:
    assert fitted({"box": BOX}, []) is None
