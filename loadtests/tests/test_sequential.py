"""Whether a rate is held, worked out by hand."""

import dataclasses
import math

import pytest

from loadtests.ceiling.sequential import Evidence, decide, dispersion, evidence
from loadtests.ceiling.verdict import Block, Outcome


def window(*blocks: tuple[int, int, int], rate: float = 100, backlog: float = 0) -> Outcome:
    made = tuple(Block(*block) for block in blocks)
    return Outcome(rate, rate, achieved=1, error_share=0, p95=9, backlog_growth=backlog, blocks=made)


def test_late_requests_are_pooled_and_their_bursts_counted() -> None:
    """12 of 160 are bad, 7.5 %: blocks of 100 and 60 had 3 and 9 where 7.5 and 4.5 were due.

    (3 - 7.5)² / (0.075 · 0.925 · 100) + (9 - 4.5)² / (0.075 · 0.925 · 60) = 2.919 + 4.865; two blocks more at a quarter
    of a second's arrivals, by one degree of freedom and two: (2 · 25 + 7.784) / 3. An empty block says nothing.
    """
    seen = evidence([window((100, 3, 0)), window((60, 9, 0), (0, 0, 0))])
    assert (seen.arrivals, seen.bad, seen.good, seen.by_errors) == (160, 12, 148, False)
    assert seen.share == 0.075
    assert seen.dispersion == pytest.approx(19.26126, abs=1e-4)


def test_a_failed_request_is_late_as_well() -> None:
    """1 failed of 1000 is all that the SLO allows, as 50 late ones are: 60 late and failed ones are more.

    (21 - 24)² / (0.0564 · 400) + (39 - 36)² / (0.0564 · 600) = 0.665, with two blocks more at 25, by three.
    """
    seen = evidence([window((400, 20, 1)), window((600, 39, 0))])
    assert (seen.bad, seen.by_errors) == (60, False)
    assert seen.dispersion == pytest.approx(16.8883, abs=1e-4)


def test_where_errors_use_up_more_of_the_slo_they_count_for_fifty() -> None:
    """1 failed of 160: 50 of 160 bad, all of them in one block; (2 · 50 + 45.455 + 75.758) / 3."""
    seen = evidence([window((100, 3, 0), (60, 8, 1))])
    assert (seen.arrivals, seen.bad, seen.by_errors) == (160, 50, True)
    assert (seen.failed, seen.error_share) == (1, 1 / 160)
    assert seen.dispersion == pytest.approx(73.737, abs=1e-3)
    assert evidence([window((60, 0, 2))]).bad == 60, "no more than all"


def test_what_counts_for_fifty_comes_no_more_evenly_than_one_by_one() -> None:
    """Blocks that are all alike have no dispersion of their own: (2 · 50 + 0) / (2 + 4) is less than 50."""
    alike = window(*[(500, 0, 1)] * 5)
    assert evidence([alike]).dispersion == 50
    assert evidence([dataclasses.replace(alike, rate=1000)]).dispersion == pytest.approx(250 * 2 / 6)
    late = window(*[(500, 10, 0)] * 99, rate=1)
    assert evidence([late]).dispersion == 1, "nor do late ones more evenly than by chance"


def test_dispersion_without_a_bad_or_a_good_request_is_the_prior() -> None:
    assert dispersion([(10, 0), (20, 0)], prior=7) == 7
    assert dispersion([(10, 10)], prior=7) == 7
    assert dispersion([], prior=7) == 7
    assert dispersion([(10, 1)], prior=7) == pytest.approx(7), "one block has no variance"


def test_nothing_that_arrived_holds_nothing() -> None:
    assert Evidence(0, 0, 1).share == 1
    assert Evidence(0, 0, 1).error_share == 0
    assert decide([window((0, 0, 0))]) == "undecided"


def test_how_much_likelier_it_is_that_a_rate_is_held() -> None:
    """Of 40 independent requests none was bad: the mean of (1 - p)⁴⁰ over p from 0 to 0.04, by 0.94⁴⁰."""
    seen = Evidence(arrivals=400, bad=0, dispersion=10)
    integral = (1 - 0.96**41) / 41 / 0.04 / 0.94**40
    assert math.exp(seen.for_holding()) == pytest.approx(integral, rel=0.002)
    assert integral == pytest.approx(5.885, abs=0.005)


def test_how_much_likelier_it_is_that_a_rate_is_not_held() -> None:
    """All of 40 were bad: (0.5 / 0.04)⁴⁰ and 0.478, 0.456 … as much less likely, 21 shares alike beforehand."""
    seen = Evidence(arrivals=400, bad=400, dispersion=10)
    assert seen.for_breaking() == pytest.approx(40 * math.log(12.5) + math.log(1.1944 / 21), abs=0.001)


@pytest.mark.parametrize(("arrivals", "decision"), [(1275, "undecided"), (1300, "passed")])
def test_it_passes_as_soon_as_it_is_ten_times_likelier(arrivals: int, decision: str) -> None:
    """Without a late one, 25 arrivals at 100/s count as one: 51 of them make it 9.93 times, 52 make it 10.42."""
    assert decide([window((arrivals - 600, 0, 0)), window((600, 0, 0))]) == decision


def test_nothing_passes_while_its_backlog_grows() -> None:
    grown, well = window((1300, 0, 0), backlog=16), window((1300, 0, 0))
    assert decide([grown]) == "undecided"
    assert decide([well, grown]) == "undecided"
    assert decide([grown, well]) == "passed"


def test_it_fails_as_soon_as_it_is_ten_times_likelier() -> None:
    """One block of 500 at 100/s is 20 independent ones: 3 of them bad are few to tell, 5 are enough."""
    assert decide([window((500, 75, 0))]) == "undecided"
    assert decide([window((500, 125, 0))]) == "failed"


def test_five_of_a_hundred_are_not_decided_however_long_one_looks() -> None:
    """In bursts of 50, each other block, as they come."""
    assert decide([window(*[(500, 0, 0), (500, 50, 0)] * 100)]) == "undecided"


def test_the_zone_is_from_four_to_six_of_a_hundred() -> None:
    long = 4000
    assert decide([window(*[(500, 19, 0)] * long)]) == "passed"
    assert decide([window(*[(500, 31, 0)] * long)]) == "failed"
