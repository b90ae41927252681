"""What a run's trials tell: demand, and a prediction that does not know what it is held against."""

from typing import Any

import pytest

from loadtests.ceiling.explain import at_ceiling, before_confirmations, explain, foretold
from loadtests.ceiling.prediction import Model, Place

BOXES = [
    {"name": "app1", "role": "app", "cpus": 0.5, "period_us": 20_000},
    {"name": "db", "role": "db", "cpus": 0.5, "period_us": 20_000},
    {"name": "app2", "role": "app", "cpus": 0.5, "period_us": 20_000},
]
TRUE = Model({"app": Place(2, 0.5, 0.02, 0.02, 0.01), "db": Place(1, 0.5, 0.02, 0.01, 0.002)}, 2)


def trial(phase: str, rate: float, *, valid: bool = True, p95: float | None = None, **more: Any) -> dict[str, Any]:
    """One of the stage that TRUE describes; of its two apps the second works a third more than the first."""
    app, db = 0.02 + 0.01 * rate, 0.01 + 0.002 * rate
    used = {"app1": app * 3 / 7, "app2": app * 4 / 7, "db": db}
    total = {"completed_rate": rate, "offered_rate": rate, "sent": 1000, "answered": 1000}
    return {
        "phase": phase,
        "rate": rate,
        "valid": valid,
        "programs": {},
        "boxes": {name: {"cpu": cpu, "utilisation": cpu / 0.5, "throttled": 0.3} for name, cpu in used.items()},
        "result": {"total": total | {"p95": TRUE.p95_ms(rate) if p95 is None else p95} | more},
    }


TRIALS = [trial(phase, rate) for phase, rate in (("warm-up", 20), ("probe", 30), ("step", 50), ("step", 65))] + [
    trial("bisection", 80),
    trial("confirmation", 75),
    trial("confirmation", 85),
    trial("overload", 170, answered=400),
]


def test_confirmations_are_told_from_what_was_before() -> None:
    assert [one["rate"] for one in at_ceiling([*TRIALS, trial("confirmation", 9, valid=False)])] == [75, 85]
    assert [one["rate"] for one in before_confirmations(TRIALS)] == [20, 30, 50, 65, 80]
    assert [one["rate"] for one in before_confirmations(TRIALS[:3])] == [20, 30, 50]


def test_a_stage_that_is_as_the_model_has_it_is_foretold() -> None:
    found = foretold(TRIALS, BOXES, 65, 500)
    assert found is not None
    assert found["lumps"] == 2
    assert found["ceiling"] == pytest.approx(TRUE.ceiling(500), rel=1e-6)
    assert found["if_doubled"] == {
        "app": pytest.approx(TRUE.doubled("app").ceiling(500), rel=1e-6),
        "db": pytest.approx(TRUE.doubled("db").ceiling(500), rel=1e-6),
    }
    assert found["below"] == 65


def test_what_is_foretold_knows_neither_confirmations_nor_waits_above_what_passed() -> None:
    found = foretold(TRIALS, BOXES, 65, 500)
    changed = [one | {"result": {"total": one["result"]["total"] | {"p95": 9999.0}}} for one in TRIALS]
    assert foretold([*TRIALS[:4], *changed[4:]], BOXES, 65, 500) == found
    assert foretold([changed[0], *TRIALS[1:]], BOXES, 65, 500) == found, "nor the warm-up, which was cold"
    assert foretold([*TRIALS[:3], changed[3], *TRIALS[4:]], BOXES, 65, 500) != found
    cold = trial("step", 40, valid=False, p95=9999.0)
    drowned = trial("step", 40, p95=9999.0, answered=899)
    assert foretold([cold, drowned, *TRIALS], BOXES, 65, 500) == found
    assert foretold([trial("step", 40, p95=9999.0, answered=900), *TRIALS], BOXES, 65, 500) != found


def test_where_nothing_was_below_nothing_is_foretold() -> None:
    assert foretold(TRIALS, BOXES, 10, 500) is None
    assert foretold([], BOXES, 65, 500) is None
    assert foretold([trial("step", 50) | {"result": {"total": {"p95": None, "sent": 0}}}], BOXES, 65, 500) is None


def test_demand_is_that_of_all_steady_trials() -> None:
    found = explain(TRIALS, BOXES, foretold(TRIALS, BOXES, 65, 500), 500)
    app, db = found["boxes"]
    assert found["throughput"] == 80
    assert (app["name"], app["boxes"], app["capacity"], app["points"]) == ("app", ["app1", "app2"], 1.0, 6)
    assert app["cpu"] == pytest.approx(0.82)
    assert app["utilisation"] == pytest.approx(0.82)
    assert app["base_cpu"] == pytest.approx(0.02)
    assert app["per_request_ms"] == pytest.approx(10)
    assert app["error_ms"] == pytest.approx(0, abs=1e-9)
    assert app["r2"] == pytest.approx(1)
    assert (db["name"], db["boxes"], db["capacity"]) == ("db", ["db"], 0.5)
    assert db["base_cpu"] == pytest.approx(0.01)
    assert db["per_request_ms"] == pytest.approx(2)
    assert found["saturates"] == "app", "in the overload"
    assert set(found["if_doubled"]) == {"app", "db"}
    assert found["if_split"] is None, "there are two boxes already"


def _half_as_busy(one: dict[str, Any]) -> dict[str, Any]:
    boxes = {
        name: box | {"cpu": box["cpu"] / 2, "utilisation": box["utilisation"] / 2} for name, box in one["boxes"].items()
    }
    return one | {"boxes": boxes}


def test_a_box_that_never_was_busy_is_not_what_saturates() -> None:
    calm = [_half_as_busy(one) for one in TRIALS[:-1]]
    found = explain(calm, BOXES, foretold(calm, BOXES, 65, 500), 500)
    assert (found["saturates"], found["if_doubled"], found["if_split"]) == (None, {}, None)
    throttled = [*calm, _half_as_busy(trial("overload", 75))]
    throttled[-1]["boxes"]["app2"]["throttled"] = 0.8
    assert explain(throttled, BOXES, None, 500)["saturates"] == "app"
    below = [_half_as_busy(trial("step", 74)), *calm]
    below[0]["boxes"]["app2"]["throttled"] = 0.8
    assert explain(below, BOXES, None, 500)["saturates"] is None
    busy = [*calm, _half_as_busy(trial("overload", 75))]
    busy[-1]["boxes"]["app1"]["utilisation"] = 0.85
    assert explain(busy, BOXES, None, 500)["saturates"] == "app"


def test_without_a_prediction_there_is_none() -> None:
    found = explain(TRIALS, BOXES, None, 500)
    assert (found["if_doubled"], found["if_split"]) == ({}, None)


WORKER = {"name": "worker", "role": "worker", "cpus": 0.5, "period_us": 20_000, "background": True}


def _with_worker(one: dict[str, Any], cpu: float) -> dict[str, Any]:
    """A worker that takes so many CPU seconds a request, as many as it has at most."""
    used = min(0.5, cpu * one["rate"])
    box = {"cpu": used, "utilisation": used / 0.5, "throttled": 0.0}
    return one | {"boxes": one["boxes"] | {"worker": box}}


@pytest.mark.parametrize("cpu", [0.001, 0.007, 0.02])
def test_a_box_that_no_request_waits_for_lowers_no_ceiling(cpu: float) -> None:
    """At the ceiling of 80/s one is busy for 16 %, and two have no CPU left: waited for, they would be the limit."""
    trials = [_with_worker(one, cpu) for one in TRIALS]
    alone = foretold(TRIALS, BOXES, 65, 500)
    assert alone is not None
    found = foretold(trials, [WORKER, *BOXES], 65, 500)
    assert found == alone | {"if_doubled": alone["if_doubled"] | {"worker": alone["ceiling"]}}
    waited_for = foretold(trials, [WORKER | {"background": False}, *BOXES], 65, 500)
    assert waited_for is not None
    assert (waited_for["ceiling"] < 0.95 * alone["ceiling"]) is (cpu > 0.001)


@pytest.mark.parametrize(("cpu", "behind"), [(0.0045, []), (0.0058, ["worker"])])
def test_a_box_that_no_request_waits_for_is_told_of_and_is_not_what_saturates(cpu: float, behind: list[str]) -> None:
    """In the confirmations, at 75 and 85/s, it is 0.72 and 0.0058 · 85 / 0.5 = 0.986 busy at most."""
    trials = [_with_worker(one, cpu) for one in TRIALS]
    found = explain(trials, [WORKER, *BOXES], foretold(trials, [WORKER, *BOXES], 65, 500), 500)
    assert [box["name"] for box in found["boxes"]] == ["app", "db", "worker"], "the busiest that is waited for is first"
    assert (found["saturates"], found["behind"]) == ("app", behind)
    assert found["boxes"][2]["per_request_ms"] == pytest.approx(1000 * cpu)


def test_programs_of_an_only_box_are_split() -> None:
    """The app takes 0.6 and 0.7 of the box's CPU in the two confirmations: 0.6 · 0.17 + 0.7 · 0.19 by two."""
    only = [{"name": "db", "role": "box", "cpus": 0.5, "period_us": 20_000}]
    trials = [dict(one) for one in TRIALS]
    trials[5]["programs"] = {"db": {"app": 0.6, "PostgreSQL": 0.38, "supervisor": 0.02}}
    trials[6]["programs"] = {"db": {"app": 0.7, "PostgreSQL": 0.3}}
    trials[-1]["boxes"] = {"db": {"cpu": 0.5, "utilisation": 1.0, "throttled": 0.3}}
    found = explain(trials, only, foretold(trials, only, 65, 500), 500)
    (box,) = found["boxes"]
    assert list(box["programs"]) == ["app", "PostgreSQL", "supervisor"]
    assert box["programs"]["app"]["cpu"] == pytest.approx((0.6 * 0.16 + 0.7 * 0.18) / 2)
    assert box["programs"]["app"]["per_request_ms"] == pytest.approx(1000 * 0.111 / 80)
    assert box["programs"]["supervisor"]["cpu"] == pytest.approx(0.02 * 0.16 / 2)
    assert found["if_split"] > foretold(trials, only, 65, 500)["ceiling"]  # type: ignore[index]


def test_an_only_program_is_not_split() -> None:
    only = [{"name": "db", "role": "box", "cpus": 0.5, "period_us": 20_000}]
    trials = [*TRIALS, trial("overload", 170)]
    trials[-1]["boxes"] = {"db": {"cpu": 0.5, "utilisation": 1.0, "throttled": 0.3}}
    found = explain(trials, only, foretold(trials, only, 65, 500), 500)
    assert (found["saturates"], found["if_split"]) == ("box", None)
    assert explain(trials, only, None, 500)["if_split"] is None


def test_the_slope_s_error_is_told_in_ms_and_not_at_all_where_there_is_no_line() -> None:
    """Points of (10, 0.03), (20, 0.04) and (40, 0.09): the same as (1, 3), (2, 4) and (4, 9) by ten and a hundred."""
    only = [{"name": "box", "role": "box", "cpus": 0.5, "period_us": 20_000}]
    trials = []
    for phase, rate, cpu in (("step", 10, 0.03), ("step", 20, 0.04), ("confirmation", 40, 0.09)):
        trials.append(trial(phase, rate) | {"boxes": {"box": {"cpu": cpu, "utilisation": cpu * 2, "throttled": 0}}})
    (box,) = explain(trials, only, None, 500)["boxes"]
    assert box["per_request_ms"] == pytest.approx(1.75)
    assert box["error_ms"] == pytest.approx(0.490990, abs=1e-6)
    (box,) = explain(trials[1:], only, None, 500)["boxes"]
    assert (box["error_ms"], box["r2"], box["base_cpu"]) == (None, None, 0)
