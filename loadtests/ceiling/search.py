"""The search for the ceiling: pure, over a function that runs one trial.

Warm-up, a guess from how busy the busiest box was, steps of ×1.3 from below it, bisection, confirmations. Windows at
one rate follow each other until ``sequential`` decides, or the rate has had its time. Then the ceiling is estimated
from all of them, and the rest of the time goes where it tells most: to windows at the ceiling that is known so far
(compare MLRsearch and PLRsearch, drafts of the IETF's benchmarking group).
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from loadtests.ceiling.estimate import Estimate, estimate
from loadtests.ceiling.plan import Plan
from loadtests.ceiling.sequential import SLO_LATE, Decision, decide, evidence
from loadtests.ceiling.verdict import SLO_ERRORS, Outcome

STEP = 1.3
MOST_STEPS = 14
# A box that is fully busy cannot hold a p95; a first guess leaves it this much to do.
GUESSED_UTILISATION = 0.85
LOWEST_RATE = 0.5
FEWEST_REQUESTS = 100
LONGEST_STRETCH = 1.5
# Trials for one verdict: a shared machine is slow for some tens of seconds at a time, a generator that is too slow
# remains so.
TRIES, TRIES_OF_A_SLOW_MACHINE = 2, 4


class Trial(Protocol):
    """Runs one trial: a phase's name, requests/s, and seconds of window and of warm-up before it."""

    def __call__(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """What the trial showed."""


@dataclass
class Ceiling:
    """What the search found.

    ``estimate`` is the ceiling and its interval; None where there is none, and then ``no_verdict`` says why. ``passed``
    and ``failed`` bracket it, in requests/s; ``decisions`` tell of each rate that had a verdict of its own.
    """

    estimate: Estimate | None = None
    passed: float | None = None
    failed: float | None = None
    no_verdict: str | None = None
    confirmations: list[Outcome] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """For the record of the run: rates in requests/s, ``p95`` in ms, and their spreads over the confirmations."""
        found = self.estimate
        rates = [one.completed_rate for one in self.confirmations]
        waits = [one.p95 for one in self.confirmations if one.p95 is not None]
        return {
            "rate": found.rate if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "passed": self.passed,
            "failed": self.failed,
            "no_verdict": self.no_verdict,
            "confirmed": sum(one.passed for one in self.confirmations),
            "confirmations": len(self.confirmations),
            "completed_rate": _spread(rates),
            "p95": _spread(waits),
            "decisions": self.decisions,
        }


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


class NoVerdictError(Exception):
    """The generator or the host was the limit, so that the search cannot go on."""


class Search:
    """One search. ``found`` grows while it runs, so that an interrupted one keeps what it has.

    ``foretell`` is called when the ceiling is bracketed and before any confirmation, with the rate that passed.
    """

    def __init__(
        self,
        trial: Trial,
        plan: Plan,
        say: Callable[[str], None] = lambda _text: None,
        foretell: Callable[[float], None] = lambda _rate: None,
    ) -> None:
        self._trial = trial
        self._plan = plan
        self._say = say
        self._foretell = foretell
        self._spent = 0.0
        self._windows: list[Outcome] = []
        self.found = Ceiling()

    def run(self) -> Ceiling:
        """Search. Whatever ``trial`` raises goes through."""
        try:
            self._climb(self._guess() * self._plan.first_step)
            self._bisect()
            self._confirm()
        except NoVerdictError as error:
            self.found.estimate = None
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
            if self._holds("step", rate):
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
        """A narrower bracket, while its ends are far apart and there is time for a confirmation."""
        while (middle := self._middle()) and self._bracket() > self._plan.resolution and self._has_time():
            if self._holds("bisection", middle):
                self.found.passed = middle
            else:
                self.found.failed = middle

    def _bracket(self) -> float:
        found = self.found
        assert found.passed is not None, "a climb that found no pass has raised"
        assert found.failed is not None, "or no fail"
        return found.failed / found.passed

    def _middle(self) -> float:
        return (self.found.passed or 0) * math.sqrt(self._bracket())

    def _confirm(self) -> None:
        """Windows at the ceiling that is estimated so far, each from all before it."""
        plan, found = self._plan, self.found
        self._foretell(found.passed or 0)
        now = estimate(self._windows, self._middle(), self._spent)
        while not found.confirmations or self._has_time():
            seconds = self._enough(now.rate, plan.confirm_seconds)
            try:
                shown = self._valid("confirmation", now.rate, seconds, plan.confirm_warmup)
            except NoVerdictError as error:
                if len(found.confirmations) < plan.confirmations:
                    raise
                self._say(f"Ended before its time: {error}.")
                break
            found.confirmations.append(shown)
            self._windows.append(shown)
            found.estimate = now = estimate(self._windows, now.rate, self._spent)
            self._say(f"The ceiling is about {now.rate:.3g} requests/s ({now.low:.3g} to {now.high:.3g}).")
            if len(found.confirmations) >= plan.confirmations and now.half_width <= plan.precise:
                break

    def _has_time(self) -> bool:
        """For one more confirmation."""
        plan = self._plan
        return self._spent + plan.confirm_warmup + plan.confirm_seconds <= plan.search_seconds

    def _holds(self, phase: str, rate: float) -> bool:
        """Windows at a rate until they decide; where they do not, what is likelier."""
        plan = self._plan
        windows: list[Outcome] = []
        decision: Decision = "undecided"
        seconds = self._enough(rate, plan.step_seconds)
        while decision == "undecided" and len(windows) < plan.most_windows and (not windows or self._has_time()):
            windows.append(self._valid(phase, rate, seconds, plan.step_warmup))
            decision = decide(windows)
        self._windows += windows
        seen = evidence(windows)
        self.found.decisions.append(
            {
                "rate": rate,
                "decision": decision,
                "windows": len(windows),
                "seconds": seconds * len(windows),
                "arrivals": seen.arrivals,
                "bad_share": seen.share,
                "error_share": seen.error_share,
                "by_errors": seen.by_errors,
            }
        )
        if decision == "undecided":
            said = f"{seen.share:.1%} late or failed"
            if seen.by_errors:
                times = seen.error_share / SLO_ERRORS
                said = f"{seen.failed} of {seen.arrivals} requests failed, {times:.2g} times what the SLO allows"
            self._say(f"Not decided in its time: {said}.")
            return seen.share < SLO_LATE
        return decision == "passed"

    def _enough(self, rate: float, seconds: float) -> float:
        """A share of a few dozen requests is a guess: where few come, wait for more, within reason."""
        return min(max(seconds, FEWEST_REQUESTS / rate), LONGEST_STRETCH * seconds)

    def _run(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        self._spent += warmup + seconds
        return self._trial(phase, rate, seconds, warmup)

    def _valid(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        """A trial that is a verdict, at the second try or, where the machine is slow, the fourth.

        Raises NoVerdictError.
        """
        shown = self._run(phase, rate, seconds, warmup)
        tried = 1
        while not shown.valid and tried < (TRIES_OF_A_SLOW_MACHINE if shown.may_pass_by else TRIES):
            self._say(f"No verdict ({', '.join(shown.limits())}); once more.")
            shown = self._run(phase, rate, seconds, warmup)
            tried += 1
        if shown.valid:
            return shown
        passed = f"; {self.found.passed:.0f} requests/s were held" if self.found.passed else ""
        limits = ", ".join(shown.limits())
        raise NoVerdictError(f"limited by what measures, not by the stage: {limits}{passed}")
