"""Whether a rate is held: a sequential test on the share of late and failed requests, block by block.

p95 within the SLO means that at most 5 of 100 requests are late. The test has two sides with an indifference zone
between them, 4 of 100 and 6 of 100. After each window it asks how much likelier what was seen is if fewer than 4 are
bad, however many, than if 6 are; and the other way round. By Wald's weight functions ("Sequential Tests of Statistical
Hypotheses", 1945; Robbins, 1970, calls them mixtures) a ratio of ten is met by chance once in ten times at most,
however often one looks. Far from the zone a few seconds decide. Within it no window is long enough, and none need be: a
stage of which 5 of 100 are late is at its ceiling.

Late requests come in bursts, so that a thousand of them say less than a thousand throws of a coin. The logarithm of the
ratio is divided by the dispersion of the blocks: their variance, in units of what independent requests would show
(McCullagh and Nelder, "Generalized Linear Models", 1989, 4.5). That is an estimate, and so is the one in ten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtests.ceiling.verdict import SLO_ERRORS, Outcome

Decision = Literal["passed", "failed", "undecided"]

SLO_LATE = 0.05
HOLDS = 0.04
BREAKS = 0.06
WRONG_AT_MOST = 0.1
# One failed request uses up as much of what the SLO allows as so many late ones.
FAILED_WEIGHS = SLO_LATE / SLO_ERRORS
# The shares that are weighed, evenly: those that hold, and those that do not.
HOLDING = tuple(HOLDS * (2 * place + 1) / 40 for place in range(20))
BREAKING = tuple(BREAKS + 0.022 * place for place in range(21))
# Before its blocks have shown it, a burst of lateness is taken to last so long, as it does near the ceilings of the
# kept runs in the median (15 requests at 60/s); this weighs as much as so many blocks.
BURST_SECONDS = 0.25
PRIOR_BLOCKS = 2


@dataclass(frozen=True)
class Evidence:
    """What windows at one rate showed together.

    ``bad`` of the ``arrivals`` were late or failed, where a failed one counts for FAILED_WEIGHS late ones if the errors
    use up more of what they may be than the late ones (``by_errors``), but all of them together are no more bad than
    there are; ``dispersion`` is 1 where requests are late independently. ``failed`` is how many did, counted once.
    """

    arrivals: int
    bad: float
    dispersion: float
    by_errors: bool = False
    failed: int = 0

    @property
    def share(self) -> float:
        """Of the arrivals that were bad, 0 to 1; the SLO allows SLO_LATE. 1 where nothing arrived, which holds nothing.
        """
        return self.bad / self.arrivals if self.arrivals else 1.0

    @property
    def error_share(self) -> float:
        """Of the arrivals that failed, 0 to 1; the SLO allows SLO_ERRORS."""
        return self.failed / self.arrivals if self.arrivals else 0.0

    @property
    def good(self) -> float:
        """Arrivals that were not bad."""
        return self.arrivals - self.bad

    def for_holding(self) -> float:
        """How much likelier this is if the rate is held than at the far side of the zone, as a logarithm."""
        return self._ratio(HOLDING, BREAKS)

    def for_breaking(self) -> float:
        """How much likelier this is if the rate is not held than at the near side of the zone, as a logarithm."""
        return self._ratio(BREAKING, HOLDS)

    def _ratio(self, shares: Sequence[float], against: float) -> float:
        logs = [
            (self.bad * math.log(share / against) + self.good * math.log((1 - share) / (1 - against))) / self.dispersion
            for share in shares
        ]
        most = max(logs)
        return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))


def evidence(windows: Sequence[Outcome]) -> Evidence:
    """Of windows at one rate, which is that of the first."""
    blocks = [block for window in windows for block in window.blocks if block.arrivals]
    arrivals = sum(block.arrivals for block in blocks)
    failed = sum(block.failed for block in blocks)
    slow = float(sum(block.late + block.failed for block in blocks))
    by_errors = FAILED_WEIGHS * failed > slow
    seen = [
        (block.arrivals, FAILED_WEIGHS * block.failed if by_errors else float(block.late + block.failed))
        for block in blocks
    ]
    # What counts for so many can come no more evenly than one by one.
    least = FAILED_WEIGHS if by_errors else 1.0
    prior = max(least, BURST_SECONDS * windows[0].rate)
    return Evidence(
        arrivals=arrivals,
        bad=min(max(FAILED_WEIGHS * failed, slow), float(arrivals)),
        dispersion=max(least, dispersion(seen, prior)),
        by_errors=by_errors,
        failed=failed,
    )


def dispersion(blocks: Sequence[tuple[int, float]], prior: float) -> float:
    """The variance of the blocks' shares in units of a binomial one, drawn to ``prior`` where the blocks are few.

    ``blocks`` are the arrivals of each, and how many of them were bad.
    """
    arrivals = sum(number for number, _ in blocks)
    share = sum(bad for _, bad in blocks) / arrivals if arrivals else 0.0
    if not 0 < share < 1:
        return prior
    squares = sum((bad - share * number) ** 2 / (share * (1 - share) * number) for number, bad in blocks)
    return (PRIOR_BLOCKS * prior + squares) / (PRIOR_BLOCKS + len(blocks) - 1)


def decide(windows: Sequence[Outcome]) -> Decision:
    """Whether the rate of these windows is held; undecided where more of them are wanted.

    Nothing passes while the last window leaves a backlog.
    """
    bound = math.log(1 / WRONG_AT_MOST)
    seen = evidence(windows)
    if seen.for_breaking() >= bound:
        return "failed"
    if seen.for_holding() >= bound and not windows[-1].backlogs():
        return "passed"
    return "undecided"
