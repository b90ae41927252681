"""A stage whose ceiling, drift and checks are known is measured within its interval, by the code for real ones."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests.ceiling import overload
from loadtests.ceiling.estimate import Estimate
from loadtests.ceiling.explain import foretold
from loadtests.ceiling.plan import FULL, QUICK, Plan
from loadtests.ceiling.search import Search
from loadtests.load import summary
from loadtests.tests.made_up_stage import FIT, MadeUpStage

CHECK_SECONDS = 0.15
CHECKED_CEILING = 42.4
"""Of 50 requests/s with such checks: no formula has it, but 5 % are late there of two million made-up requests."""


def searched(plan: Plan, times: int, **options: Any) -> Iterator[Estimate]:
    """The ceilings of stages that differ in their chance only."""
    for seed in range(times):
        found = Search(MadeUpStage(50, seed=seed, **options).trial, plan).run()
        assert found.estimate is not None, found.no_verdict
        yield found.estimate


def covering(found: list[Estimate], ceiling: float) -> float:
    """The share of the intervals that have it in them."""
    return sum(one.low <= ceiling <= one.high for one in found) / len(found)


def test_the_made_up_stage_is_as_late_as_the_textbook_has_it() -> None:
    samples, busy = MadeUpStage(50).samples([[3000, 44.0]], 100)
    mine = [sample for sample in samples if sample.intended >= 0]
    late = sum(sample.finished - sample.intended > summary.SLO_SECONDS for sample in mine) / len(mine)
    assert late == pytest.approx(math.exp(-(50 - 44) * summary.SLO_SECONDS), rel=0.25)
    assert busy / 3100 == pytest.approx(0.88, rel=0.02)


def test_little_s_formula_holds_of_what_is_recorded() -> None:
    """In flight is what arrives in a second by how long it stays: 30 · 1 / (50 - 30) = 1.5 on average."""
    samples, _ = MadeUpStage(50).samples([[2000, 30.0]], 20)
    rows = summary.series(samples, 0, 2000)
    mine = [sample for sample in samples if 0 <= sample.intended < 2000]
    stay = sum(sample.finished - sample.intended for sample in mine) / len(mine)
    flying = sum(row["in_flight"] for row in rows) / 2000
    assert flying == pytest.approx(len(mine) / 2000 * stay, rel=0.1)
    assert flying == pytest.approx(1.5, rel=0.15)


@pytest.mark.parametrize(("most_in_flight", "verdict"), [(64, "cliff"), (16, "graceful")])
def test_a_cliff_is_where_what_may_wait_takes_longer_than_the_slo(most_in_flight: int, verdict: str) -> None:
    """64 that wait for 50 answers a second take 1.28 s, 16 take 0.32."""
    profile = overload.profile(44, 30, 30)
    samples, _ = MadeUpStage(50, most_in_flight=most_in_flight).samples(profile, 0)
    series = summary.series(samples, 0, 90)
    stretches = [{**FIT, "errors": {}}] * 3
    judged = overload.judge({"profile": profile, "series": series, "stretches": stretches}, 44)
    assert judged["verdict"] == verdict
    assert judged["over"][1]["queue_seconds"] == pytest.approx(most_in_flight / 50, rel=0.15)


def test_the_model_foretells_the_ceiling_from_below() -> None:
    stage = MadeUpStage(50, seed=3)
    trials = []
    for rate in (15, 22, 30, 36, 40):
        samples, busy = stage.samples([[60, rate]], 5)
        box = {"cpu": busy / 65, "utilisation": busy / 65, "throttled": 0}
        result = {"total": summary.totals(samples, 0, 60)}
        trials.append({"phase": "step", "rate": rate, "valid": True, "boxes": {"box": box}, "result": result})
    boxes = [{"name": "box", "role": "box", "cpus": 1.0, "period_us": 100_000}]
    found = foretold(trials, boxes, 36, 500)
    assert found is not None
    assert found["ceiling"] == pytest.approx(stage.ceiling, rel=0.08)


@pytest.mark.parametrize(
    ("options", "ceiling"),
    [({}, 50 - 2 * math.log(20)), ({"check_seconds": CHECK_SECONDS, "drift": 0.05}, CHECKED_CEILING)],
)
def test_ten_quick_searches_find_what_is_known(options: dict[str, float], ceiling: float) -> None:
    found = list(searched(QUICK, 10, **options))
    assert covering(found, ceiling) >= 0.8
    overlapping = sum(one.low <= other.high and other.low <= one.high for one in found for other in found)
    assert overlapping >= 0.9 * 100
    assert all(one.half_width < 0.3 for one in found)


@pytest.mark.long
@pytest.mark.parametrize("plan", [QUICK, FULL], ids=lambda plan: plan.mode)
@pytest.mark.parametrize("drift", [0.0, 0.05, 0.1])
@pytest.mark.parametrize(("checks", "ceiling"), [(0.0, 50 - 2 * math.log(20)), (CHECK_SECONDS, CHECKED_CEILING)])
def test_nine_of_ten_intervals_cover_the_ceiling(plan: Plan, drift: float, checks: float, ceiling: float) -> None:
    found = list(searched(plan, 200 if plan is QUICK else 100, drift=drift, check_seconds=checks))
    covered = covering(found, ceiling)
    bias = sum(math.log(one.rate / ceiling) for one in found) / len(found)
    wide = sum(one.half_width for one in found) / len(found)
    print(f"{plan.mode}, drift {drift:.0%}, checks of {checks} s: {covered:.1%} cover, bias {bias:+.1%}, ± {wide:.1%}")
    assert covered >= 0.9
    assert abs(bias) < wide / 2
