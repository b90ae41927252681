"""The search for the ceiling: pure, over a function that runs one trial.

Warm-up, a guess from how busy the busiest box was, steps of ×1.3 from below it, bisection, confirmations
(compare MLRsearch, draft-ietf-bmwg-mlrsearch: short trials to find the rate, long ones to make sure of it).
"""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from loadtests.ceiling.verdict import Outcome

STEP = 1.3
MOST_STEPS = 14
# A box that is fully busy cannot hold a p95; a first guess leaves it this much to do.
GUESSED_UTILISATION = 0.85
LOWEST_RATE = 0.5
FEWEST_REQUESTS = 100
LONGEST_STRETCH = 1.5
# A stage that answers no more than this share of what it is asked is past its ceiling, and needs no second look.
CLEARLY_FAILED = 0.9


class Trial(Protocol):
    """Runs one trial: a phase's name, requests/s, and seconds of window and of warm-up before it."""

    def __call__(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """What the trial showed."""


@dataclass(frozen=True)
class Plan:
    """How long and how often; ``resolution`` is the ratio of the lowest failed to the highest passed rate."""

    mode: str
    probe_rate: float
    first_step: float
    """The first step's share of the guess: low where the curve below the ceiling is wanted, too."""
    probe_seconds: float
    step_seconds: float
    step_warmup: float
    resolution: float
    confirmations: int
    confirm_seconds: float
    confirm_warmup: float
    search_seconds: float
    """Of trials, after which none is begun but a rate's first confirmation."""
    step_down: float
    second_look: bool = False
    """Whether a step that narrowly failed is repeated: one stall of the machine is not the stage's ceiling. Not so in
    the bisection: the luckier of two trials at each rate would lead to one that no long trial holds.
    """
    overload_seconds: float = 15
    recovery_seconds: float = 30

    def settings(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


QUICK = Plan(
    mode="quick",
    probe_rate=20,
    first_step=0.8,
    probe_seconds=4,
    step_seconds=8,
    step_warmup=1,
    resolution=1.1,
    confirmations=1,
    confirm_seconds=20,
    confirm_warmup=1,
    # Wide steps: a learner waits for it, and wants to see what lies beyond the ceiling as well.
    step_down=0.9,
    search_seconds=150,
    overload_seconds=7,
    recovery_seconds=12,
)
FULL = Plan(
    mode="full",
    probe_rate=20,
    first_step=0.45,
    probe_seconds=10,
    step_seconds=20,
    step_warmup=3,
    resolution=1.05,
    confirmations=3,
    confirm_seconds=60,
    confirm_warmup=3,
    second_look=True,
    step_down=0.93,
    search_seconds=720,
)


@dataclass
class Ceiling:
    """What the search found.

    ``rate`` is the highest offered rate that was confirmed, in requests/s; None when none was, and then
    ``no_verdict`` says why. ``passed`` and ``failed`` bracket it. ``median`` and ``low``/``high`` are of the
    confirmations' completed rates, ``p95`` the same of their p95 in ms.
    """

    rate: float | None = None
    passed: float | None = None
    failed: float | None = None
    no_verdict: str | None = None
    confirmed: int = 0
    confirmations: list[Outcome] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """For the record of the run."""
        rates = [one.completed_rate for one in self.confirmations]
        waits = [one.p95 for one in self.confirmations if one.p95 is not None]
        return {
            "rate": self.rate,
            "passed": self.passed,
            "failed": self.failed,
            "no_verdict": self.no_verdict,
            "confirmed": self.confirmed,
            "confirmations": len(self.confirmations),
            "completed_rate": _spread(rates),
            "p95": _spread(waits),
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


class NoVerdictError(Exception):
    """The generator or the host was the limit, so that the search cannot go on."""


class Search:
    """One search. ``found`` grows while it runs, so that an interrupted one keeps what it has."""

    def __init__(self, trial: Trial, plan: Plan, say: Callable[[str], None] = lambda _text: None) -> None:
        self._trial = trial
        self._plan = plan
        self._say = say
        self._spent = 0.0
        self.found = Ceiling()

    def run(self) -> Ceiling:
        """Search. Whatever ``trial`` raises goes through."""
        try:
            self._climb(self._guess() * self._plan.first_step)
            self._bisect()
            self._confirm()
        except NoVerdictError as error:
            self.found.no_verdict = str(error)
        return self.found

    def _guess(self) -> float:
        """Requests/s near the ceiling, from two warm-ups.

        One small, one near half of what that one let hope.
        """
        plan = self._plan
        rate = plan.probe_rate
        guess = rate
        for phase in ("warm-up", "probe"):
            shown = self._run(phase, rate, plan.probe_seconds, plan.step_warmup)
            done = max(shown.completed_rate, LOWEST_RATE)
            if shown.busiest:
                guess = done * GUESSED_UTILISATION / min(1.0, shown.busiest)
            elif not shown.passed:
                guess = done
            else:
                guess = 2 * rate
            rate = max(LOWEST_RATE, guess / 2)
        self._say(f"The busiest box lets hope for about {guess:.0f} requests/s.")
        return guess

    def _climb(self, rate: float) -> None:
        """Steps up until one fails, down before that until one passes."""
        found = self.found
        for _ in range(MOST_STEPS):
            if self._holds(rate):
                found.passed = rate
                if found.failed is not None:
                    return
                rate *= STEP
            else:
                found.failed = rate
                if found.passed is not None:
                    return
                rate /= STEP
                if rate < LOWEST_RATE:
                    break
        if found.passed is None:
            raise NoVerdictError("the SLO is not held at any rate, however low")
        raise NoVerdictError(f"no rate was found that fails, up to {found.passed:.0f} requests/s")

    def _bisect(self) -> None:
        found = self.found
        assert found.passed is not None, "a climb that found no pass has raised"
        assert found.failed is not None, "or no fail"
        while found.failed / found.passed > self._plan.resolution:
            middle = (found.failed * found.passed) ** 0.5
            if self._valid("bisection", middle, self._plan.step_seconds, self._plan.step_warmup).passed:
                found.passed = middle
            else:
                found.failed = middle

    def _confirm(self) -> None:
        """Long trials, at the rate found and then a step lower each time, until more than half of a rate's pass."""
        found, plan = self.found, self._plan
        assert found.passed is not None, "a climb that found no pass has raised"
        rate = found.passed
        while True:
            outcomes = self._confirmations(rate)
            passes = sum(shown.passed for shown in outcomes)
            if passes * 2 > len(outcomes):
                found.rate, found.passed = rate, rate
                found.confirmed, found.confirmations = passes, outcomes
                return
            found.passed, found.failed = None, rate
            rate *= plan.step_down
            if not self._has_time():
                break
            self._say(f"Not confirmed; next {rate:.0f} requests/s.")
        self._say("Not confirmed.")
        raise NoVerdictError("what short trials passed, long ones did not confirm: the stage is not steady")

    def _confirmations(self, rate: float) -> list[Outcome]:
        """The long trials at a rate, until they are enough, cannot be more than half passes, or the time is used up.

        One that fails at once is enough: what is left of the time serves a rate that is held.
        """
        wanted = self._plan.confirmations
        outcomes: list[Outcome] = []
        failed = 0
        while len(outcomes) < wanted and (not outcomes or self._has_time()):
            outcomes.append(self._valid("confirmation", rate, self._plan.confirm_seconds, self._plan.confirm_warmup))
            failed += not outcomes[-1].passed
            if failed == len(outcomes) or failed * 2 > wanted:
                break
        return outcomes

    def _has_time(self) -> bool:
        plan = self._plan
        return self._spent + plan.confirm_warmup + plan.confirm_seconds <= plan.search_seconds

    def _holds(self, rate: float) -> bool:
        plan = self._plan
        shown = self._valid("step", rate, plan.step_seconds, plan.step_warmup)
        if shown.passed or not plan.second_look or shown.achieved < CLEARLY_FAILED:
            return shown.passed
        return self._valid("step", rate, plan.step_seconds, plan.step_warmup).passed

    def _run(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        self._spent += warmup + seconds
        return self._trial(phase, rate, seconds, warmup)

    def _valid(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """A trial that is a verdict, at the second try at least. Raises NoVerdictError."""
        # A p95 of a few dozen requests is a guess: where few come, wait for more, within reason.
        seconds = min(max(seconds, FEWEST_REQUESTS / rate), LONGEST_STRETCH * seconds)
        for attempt in (1, 2):
            shown = self._run(phase, rate, seconds, warmup)
            if shown.valid:
                return shown
            if attempt == 1:
                self._say(f"No verdict ({', '.join(shown.limits())}); once more.")
        # No more than that: of what short trials pass, long ones often confirm less.
        passed = f"; a short trial passed at {self.found.passed:.0f} requests/s" if self.found.passed else ""
        limits = ", ".join(shown.limits())
        raise NoVerdictError(f"limited by what measures, not by the stage: {limits}{passed}")
