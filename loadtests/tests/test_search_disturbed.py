"""The search where the generator or the machine is the limit, or somebody interrupts it."""

import dataclasses
from typing import Any

import pytest

from loadtests.ceiling.plan import FULL, QUICK
from loadtests.ceiling.search import Search
from loadtests.ceiling.verdict import Outcome
from loadtests.tests.runs import System, search


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

    said: list[str] = []
    found = Search(trial, QUICK, said.append).run()
    assert found.estimate is not None
    assert said.count("No verdict (host busy); once more.") == 1


@pytest.mark.parametrize(
    ("limit", "tries"), [("machine at 62% of its usual speed", 4), ("host busy", 2), ("machine at 62%, host busy", 2)]
)
def test_a_machine_that_is_slow_for_a_while_is_waited_for(limit: str, tries: int) -> None:
    """For three more trials; what does not pass by itself is tried once more."""
    system = System(300)
    limits = tuple(limit.split(", "))
    disturbed = 0

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        nonlocal disturbed
        shown = system.trial(phase, rate, seconds, warmup)
        if phase != "confirmation" or disturbed == tries - 1:
            return shown
        disturbed += 1
        return dataclasses.replace(shown, limited_by=limits)

    assert Search(trial, QUICK).run().estimate is not None
    assert disturbed == tries - 1
    tries += 1
    disturbed = 0
    assert Search(trial, QUICK).run().estimate is None


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

    said: list[str] = []
    found = Search(trial, FULL, said.append).run()
    assert any(text.startswith("Ended before its time: limited by what measures") for text in said) is found_one
    assert len(found.confirmations) == good
    assert (found.estimate is not None) is found_one
    assert ("host busy" in (found.no_verdict or "")) is not found_one


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


def test_what_limits_twice_in_a_row_is_no_verdict() -> None:
    """Once more after the first time, which is said; what was held by then is told with it."""
    system = System(300)
    said: list[str] = []
    asked: list[float] = []

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        asked.append(rate)
        shown = system.trial(phase, rate, seconds, warmup)
        return dataclasses.replace(shown, limited_by=("host busy", "late")) if rate > 210 else shown

    found = Search(trial, QUICK, said.append).run()
    assert found.no_verdict == "limited by what measures, not by the stage: host busy, late; 204 requests/s were held"
    assert said[-1] == "No verdict (host busy, late); once more."
    assert said.count(said[-1]) == 1
    assert asked[-2:] == pytest.approx([265.2, 265.2])
    assert found.summary()["rate"] is None

    first = Search(lambda *words: dataclasses.replace(system.trial(*words), limited_by=("host busy",)), QUICK).run()
    assert first.no_verdict == "limited by what measures, not by the stage: host busy"
