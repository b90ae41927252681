"""The search finds what a system is known to hold, in the time it has, and says when it cannot know."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling.search import FULL, QUICK, Plan, Search
from loadtests.ceiling.verdict import Outcome
from loadtests.tests.runs import System, search


@pytest.mark.parametrize("capacity", [7, 60, 300, 2000])
@pytest.mark.parametrize(("plan", "within"), [(QUICK, 0.1), (FULL, 0.05)])
def test_finds_the_ceiling(capacity: float, plan: Plan, within: float) -> None:
    system = System(capacity)
    found = search(system, plan).found
    assert found.rate is not None
    assert system.ceiling * (1 - within) <= found.rate <= system.ceiling
    assert found.failed is not None
    assert found.failed / found.rate <= plan.resolution
    assert found.confirmed == plan.confirmations


@pytest.mark.parametrize("seed", range(20))
def test_finds_it_in_noise(seed: int) -> None:
    system = System(300, noise=0.15, seed=seed)
    found = search(system, FULL).found
    assert found.rate == pytest.approx(system.ceiling, rel=0.1)
    assert found.confirmed >= 2


@pytest.mark.parametrize(("plan", "seconds"), [(QUICK, 180), (FULL, 720)])
@pytest.mark.parametrize("capacity", [12, 80, 400])
def test_takes_no_longer_than_it_may(plan: Plan, seconds: float, capacity: float) -> None:
    """Quick in 4 minutes, full in 15, of which starting, seeding and the overload take some."""
    system = System(capacity, noise=0.1)
    search(system, plan)
    beyond = 2 * plan.overload_seconds + plan.recovery_seconds
    assert sum(length for _, _, length in system.trials) + beyond <= seconds


def test_a_guess_keeps_it_short() -> None:
    system = System(400)
    search(system, QUICK)
    assert len([phase for phase, _, _ in system.trials if phase == "step"]) <= 4


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
    assert found.rate is None
    assert found.no_verdict is not None
    assert "generator at" in found.no_verdict


def test_one_disturbed_trial_is_tried_again() -> None:
    system = System(300)
    disturbed = iter([False, False, True] + [False] * 50)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return dataclasses.replace(shown, limited_by=("host busy",)) if next(disturbed) else shown

    found = Search(trial, QUICK).run()
    assert found.rate is not None


def test_what_never_holds_is_said_so() -> None:
    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        return Outcome(rate=rate, completed_rate=0, achieved=0, error_share=1, p95=None, backlog_growth=0, busiest=0.1)

    found = Search(trial, QUICK).run()
    assert found.rate is None
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


@pytest.mark.parametrize(("plan", "seconds"), [(QUICK, 195), (FULL, 810)])
def test_unlucky_confirmations_take_no_longer_than_it_may(plan: Plan, seconds: float) -> None:
    """The stage holds in long trials only what is well below what it holds in short ones."""
    system = System(300)
    steady = 0.83 * system.ceiling

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return shown if phase != "confirmation" or rate <= steady else dataclasses.replace(shown, p95=501)

    found = Search(trial, plan).run()
    assert found.rate is not None
    assert steady * plan.step_down <= found.rate <= steady
    beyond = 2 * plan.overload_seconds + plan.recovery_seconds
    assert sum(length for _, _, length in system.trials) + beyond <= seconds


def test_a_majority_of_a_rates_confirmations_decides() -> None:
    system = System(300)
    passes = iter([False, True, False, True])

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return shown if phase != "confirmation" or next(passes) else dataclasses.replace(shown, p95=501)

    found = Search(trial, FULL).run()
    assert (found.confirmed, len(found.confirmations)) == (2, 3)
    assert found.failed == pytest.approx((found.rate or 0) / FULL.step_down)


def test_a_stage_that_holds_nothing_for_long_ends_in_time_without_a_verdict() -> None:
    system = System(300)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        shown = system.trial(phase, rate, seconds, warmup)
        return shown if phase != "confirmation" else dataclasses.replace(shown, p95=501)

    found = Search(trial, FULL).run()
    assert found.rate is None
    assert "not steady" in (found.no_verdict or "")
    assert sum(length for _, _, length in system.trials) <= FULL.search_seconds
