"""The search finds what a system is known to hold, in the time it has, and says when it cannot know."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling.plan import FULL, QUICK, Plan
from loadtests.ceiling.search import Search
from loadtests.ceiling.verdict import Block, Outcome
from loadtests.tests.runs import System, search


@pytest.mark.parametrize("capacity", [7, 60, 300, 2000])
@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_finds_the_ceiling(capacity: float, plan: Plan) -> None:
    system = System(capacity)
    found = search(system, plan).found
    assert found.estimate is not None
    assert found.estimate.rate == pytest.approx(system.ceiling, rel=0.05)
    assert found.estimate.low < system.ceiling < found.estimate.high
    assert found.passed is not None
    assert found.failed is not None
    assert found.passed <= system.ceiling <= found.failed
    assert len(found.confirmations) >= plan.confirmations


@pytest.mark.parametrize("seed", range(8))
def test_finds_it_in_noise(seed: int) -> None:
    system = System(300, noise=0.15, seed=seed)
    found = search(system, FULL).found
    assert found.estimate is not None
    assert found.estimate.rate == pytest.approx(system.ceiling, rel=0.07)
    assert found.estimate.low < system.ceiling < found.estimate.high


@pytest.mark.parametrize(("plan", "seconds"), [(QUICK, 185), (FULL, 810)])
@pytest.mark.parametrize("capacity", [12, 80, 400])
def test_takes_no_longer_than_it_may(plan: Plan, seconds: float, capacity: float) -> None:
    """Quick in 4 minutes, full in 15, of which starting and what lies between trials take some."""
    system = System(capacity, noise=0.1)
    search(system, plan)
    beyond = 2 * plan.overload_seconds + plan.recovery_seconds
    assert sum(length for _, _, length in system.trials) + beyond <= seconds


def test_a_guess_keeps_it_short() -> None:
    system = System(400)
    search(system, QUICK)
    assert len({rate for phase, rate, _ in system.trials if phase == "step"}) <= 3


class Limited(System):
    """A system whose generator runs out of CPU at a rate."""

    def __init__(self, generator: float, **options: Any) -> None:
        super().__init__(**options)
        self.generator = generator

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """As any other, but for the generator's share."""
        shown = super().trial(phase, rate, seconds, warmup)
        share = rate / self.generator
        return dataclasses.replace(shown, limited_by=(f"generator at {share:.0%}",)) if share > 0.7 else shown


def test_a_tired_generator_is_no_verdict() -> None:
    system = Limited(generator=200, capacity=1000)
    found = search(system).found
    assert found.estimate is None
    assert found.no_verdict is not None
    assert "generator at" in found.no_verdict


def test_one_disturbed_trial_is_tried_again() -> None:
    system = System(300)
    disturbed = iter([False, False, True] + [False] * 50)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return dataclasses.replace(shown, limited_by=("host busy",)) if next(disturbed) else shown

    found = Search(trial, QUICK).run()
    assert found.estimate is not None


@pytest.mark.parametrize(("good", "found_one"), [(2, False), (3, True)])
def test_a_machine_that_tires_late_leaves_what_was_found(good: int, found_one: bool) -> None:
    """A full search wants three confirmations; what is found by then stays found."""
    system = System(300)
    done = 0

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        nonlocal done
        shown = system.trial(phase, rate, seconds, warmup)
        done += phase == "confirmation"
        return dataclasses.replace(shown, limited_by=("host busy",)) if done > good else shown

    found = Search(trial, FULL).run()
    assert len(found.confirmations) == good
    assert (found.estimate is not None) is found_one
    assert ("host busy" in (found.no_verdict or "")) is not found_one


def test_what_never_holds_is_said_so() -> None:
    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        failed = (Block(round(rate * 5), 0, round(rate * 5)),) * 2
        return Outcome(rate, 0, achieved=0, error_share=1, p95=None, backlog_growth=0, busiest=0.1, blocks=failed)

    found = Search(trial, QUICK).run()
    assert found.estimate is None
    assert "not held at any rate" in (found.no_verdict or "")


def test_interrupted_it_keeps_what_it_knows() -> None:
    system = System(300)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        if phase == "bisection":
            raise KeyboardInterrupt
        return system.trial(phase, rate, seconds, warmup)

    interrupted = Search(trial, QUICK)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    found = interrupted.found.summary()
    assert found["rate"] is None
    assert found["passed"] < system.ceiling < found["failed"]


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_confirmations_that_fail_lower_the_ceiling_and_do_not_end_it(plan: Plan) -> None:
    """What short windows from an empty queue held, long ones may not."""
    system, slower = System(300), System(250)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return shown if phase != "confirmation" else slower.trial(phase, rate, seconds, warmup)

    found = Search(trial, plan).run()
    assert found.estimate is not None
    assert slower.ceiling * 0.95 <= found.estimate.rate <= system.ceiling
    assert found.estimate.rate < found.confirmations[0].rate


def test_what_is_foretold_is_foretold_before_any_confirmation() -> None:
    system = System(300)
    told: list[tuple[float, list[str]]] = []
    searched = Search(system.trial, QUICK, foretell=lambda rate: told.append((rate, [one[0] for one in system.trials])))
    found = searched.run()
    ((rate, phases),) = told
    assert rate == found.passed
    assert set(phases) == {"warm-up", "probe", "step"} | ({"bisection"} & set(phases))


def test_each_decision_tells_on_what_it_rests() -> None:
    """At 100/s one window of 8 late of 990, as there is no time for another; at 130/s 9; at 169/s 300 of 1000."""
    shown = iter([(8, 990), (9, 980), (300, 1000)])

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        late, arrivals = next(shown) if phase == "step" else (50, 1000)
        half = Block(arrivals // 2, late // 2, 0)
        rest = Block(arrivals - half.arrivals, late - half.late, 0)
        return Outcome(rate, 100, 1, error_share=0, p95=100, backlog_growth=0, busiest=0.5, blocks=(half, rest))

    plan = dataclasses.replace(QUICK, search_seconds=0.5, first_step=100 / 170)
    found = Search(trial, plan).run()
    first, second, third = found.decisions
    assert first == {
        "rate": pytest.approx(100),
        "decision": "undecided",
        "windows": 1,
        "seconds": 15,
        "arrivals": 990,
        "bad_share": 8 / 990,
    }
    assert (second["rate"], second["bad_share"]) == (pytest.approx(130), 9 / 980)
    assert (third["rate"], third["decision"], third["bad_share"]) == (pytest.approx(169), "failed", 0.3)
    assert (found.passed, found.failed) == pytest.approx((130, 169))
    assert len(found.confirmations) == 1


def test_a_rate_has_windows_until_it_is_decided_or_has_had_its_time() -> None:
    system = System(300)
    at: dict[tuple[str, float], int] = {}

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        at[phase, rate] = at.get((phase, rate), 0) + 1
        return system.trial(phase, rate, seconds, warmup)

    found = Search(trial, FULL).run()
    for one in found.decisions:
        assert sum(count for (_, rate), count in at.items() if rate == one["rate"]) == one["windows"]
        assert one["windows"] == FULL.most_windows or one["decision"] != "undecided"
    assert {one["decision"] for one in found.decisions} >= {"passed", "failed"}
