"""The search finds what a system is known to hold, in the time it has, and says when it cannot know."""

import dataclasses

import pytest

from loadtests.ceiling.estimate import Estimate
from loadtests.ceiling.plan import FULL, QUICK, Plan
from loadtests.ceiling.search import Ceiling, Search, Trial
from loadtests.ceiling.verdict import Block, Outcome
from loadtests.tests.runs import System, blocks, search


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


@pytest.mark.parametrize("seed", range(3))
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


def test_what_never_holds_is_said_so() -> None:
    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        failed = (Block(round(rate * 5), 0, round(rate * 5)),) * 2
        return Outcome(rate, 0, achieved=0, error_share=1, p95=None, backlog_growth=0, busiest=0.1, blocks=failed)

    found = Search(trial, QUICK).run()
    assert found.estimate is None
    assert "not held at any rate" in (found.no_verdict or "")


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
        "error_share": 0,
        "by_errors": False,
    }
    assert (second["rate"], second["bad_share"]) == (pytest.approx(130), 9 / 980)
    assert (third["rate"], third["decision"], third["bad_share"]) == (pytest.approx(169), "failed", 0.3)
    assert (found.passed, found.failed) == pytest.approx((130, 169))
    assert len(found.confirmations) == 1


@pytest.mark.parametrize(
    ("late", "failed", "arrivals", "said"),
    [
        (9, 1, 800, "1 of 800 requests failed, 1.2 times what the SLO allows"),
        (0, 3, 3900, "3 of 3900 requests failed, 0.77 times what the SLO allows"),
        # Fifty times as many as failed would be more than there are: of these the SLO allows a hundredth.
        (0, 1, 11, "1 of 11 requests failed, 91 times what the SLO allows"),
        (49, 1, 800, "6.2% late or failed"),
        (60, 1, 1000, "6.1% late or failed"),
    ],
)
def test_what_is_not_decided_is_told_in_what_was_counted(late: int, failed: int, arrivals: int, said: str) -> None:
    """One failed request counts for fifty late ones, which nobody has seen: told are those that there were."""
    block = Block(arrivals, late, failed)

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        return Outcome(rate, rate, 1, error_share=0, p95=100, backlog_growth=0, busiest=0.5, blocks=(block,))

    told: list[str] = []
    found = Search(trial, dataclasses.replace(QUICK, search_seconds=0.5), told.append).run()
    assert f"Not decided in its time: {said}." in told
    assert found.decisions[0]["decision"] == "undecided"
    assert found.decisions[0]["error_share"] == failed / arrivals


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


def test_the_search_step_by_step() -> None:
    """A box is busy with 1/300 of a request/s. 20/s let hope for 0.85 · 300 = 255, half of which is the second warm-up;
    0.8 · 255 = 204 is the first step and passes, 1.3 · 204 is too much, and so the geometric mean of both is tried.
    """
    system = System(300)
    said: list[str] = []
    searched = Search(system.trial, QUICK, said.append)
    found = searched.run()
    first = [(phase, round(rate, 1), length) for phase, rate, length in system.trials if phase != "confirmation"]
    assert list(dict.fromkeys(first)) == [
        ("warm-up", 20, 8),
        ("probe", 127.5, 8),
        ("step", 204, 19),
        ("step", 265.2, 19),
        ("bisection", 232.6, 19),
    ]
    assert first[:3] == list(dict.fromkeys(first))[:3]
    confirmations = [(rate, length) for phase, rate, length in system.trials if phase == "confirmation"]
    assert [length for _, length in confirmations] == [30] * len(confirmations)
    assert [shown.rate for shown in found.confirmations] == [rate for rate, _ in confirmations]
    assert (found.passed, found.failed) == pytest.approx((204 * 1.3**0.5, 265.2))
    assert "The busiest box lets hope for about 255 requests/s." in said
    assert [text for text in said if "Not decided" in text] == [
        f"Not decided in its time: {one['bad_share']:.1%} late or failed."
        for one in found.decisions
        if one["decision"] == "undecided"
    ]
    assert found.estimate is not None
    now = found.estimate
    assert said[-1] == f"The ceiling is about {now.rate:.3g} requests/s ({now.low:.3g} to {now.high:.3g})."


def fixed(busiest: float | None, completed: float, late: float, p95: float | None = 100) -> Trial:
    """A stage that shows the same whatever it is asked."""

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        made = blocks(100, 100, late, 0)
        return Outcome(rate, completed, 1, error_share=0, p95=p95, backlog_growth=0, busiest=busiest, blocks=made)

    return trial


class Noted:
    """What was asked of a trial, in order."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.asked: list[tuple[str, float, float, float]] = []

    def __call__(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        self.asked.append((phase, rate, seconds, warmup))
        return self.trial(phase, rate, seconds, warmup)


@pytest.mark.parametrize(
    ("trial", "probe", "first_step"),
    [
        (fixed(0.5, 30, 0), 25.5, 0.8 * 51),  # 30 · 0.85 / 0.5
        (fixed(2.0, 30, 0), 12.75, 0.8 * 25.5),  # no box is busier than all of it
        (fixed(None, 30, 0), 20, 0.8 * 40),  # twice what was held
        (fixed(None, 30, 0, p95=501), 15, 0.8 * 30),  # what was done of what was not
        (fixed(0.5, 0.1, 0), 0.5, 0.8 * 0.85),  # nothing below half a request a second
    ],
)
def test_the_first_guess(trial: Trial, probe: float, first_step: float) -> None:
    noted = Noted(trial)
    Search(noted, QUICK).run()
    (warm_up, second, step, *_) = noted.asked
    assert warm_up == ("warm-up", 20, 4, 4)
    assert (second[0], step[0]) == ("probe", "step")
    assert second[1:] == pytest.approx((probe, 4, 4))
    assert step[1] == pytest.approx(first_step)


def test_a_stage_that_holds_anything_is_not_searched_for_ever() -> None:
    noted = Noted(fixed(0.5, 30, 0))
    found = Search(noted, QUICK).run()
    rates = list(dict.fromkeys(rate for phase, rate, _, _ in noted.asked if phase == "step"))
    assert rates == pytest.approx([40.8 * 1.3**n for n in range(14)])
    assert found.no_verdict == f"no rate was found that fails, up to {40.8 * 1.3**13:.0f} requests/s"
    assert found.passed == pytest.approx(40.8 * 1.3**13)


def test_a_stage_that_holds_nothing_is_asked_for_less_until_there_is_nothing_left() -> None:
    noted = Noted(fixed(0.5, 1.5, 0.5))
    found = Search(noted, QUICK).run()
    rates = list(dict.fromkeys(rate for phase, rate, _, _ in noted.asked if phase == "step"))
    assert rates == pytest.approx([2.04 / 1.3**n for n in range(6)])
    assert min(rates) >= 0.5 > min(rates) / 1.3
    assert found.no_verdict == "the SLO is not held at any rate, however low"
    assert (found.passed, found.estimate) == (None, None)
    assert found.failed == pytest.approx(min(rates))


@pytest.mark.parametrize(("rate", "seconds"), [(10, 15), (6, 100 / 6), (5, 20), (2, 22.5)])
def test_where_few_requests_come_more_of_them_are_waited_for(rate: float, seconds: float) -> None:
    """A hundred, for half as long again at most."""
    noted = Noted(fixed(0.5, rate / 0.8 / 1.7, 0.5))
    Search(noted, QUICK).run()
    step = next(asked for asked in noted.asked if asked[0] == "step")
    assert step[1:] == pytest.approx((rate, seconds, 4))


def test_what_is_recorded_of_a_ceiling() -> None:
    """Medians and spreads of three windows, of which one passed and one had no answer."""
    shown = [Outcome(100, done, 1, 0, p95, 0) for done, p95 in ((97.0, 480.0), (105.0, 530.0), (98.0, None))]
    found = Ceiling(Estimate(100, 90, 111), passed=95, failed=105, confirmations=shown, decisions=[{"rate": 95}])
    assert found.summary() == {
        "rate": 100,
        "low": 90,
        "high": 111,
        "passed": 95,
        "failed": 105,
        "no_verdict": None,
        "confirmed": 1,
        "confirmations": 3,
        "completed_rate": {"median": 98.0, "low": 97.0, "high": 105.0},
        "p95": {"median": 505.0, "low": 480.0, "high": 530.0},
        "decisions": [{"rate": 95}],
    }
    nothing = Ceiling(no_verdict="host busy").summary()
    assert (nothing["rate"], nothing["low"], nothing["high"], nothing["no_verdict"]) == (None, None, None, "host busy")
    assert (nothing["completed_rate"], nothing["p95"]) == (None, None)
    assert (nothing["confirmed"], nothing["decisions"]) == (0, [])


def test_a_search_ends_when_its_ceiling_is_known_well_enough() -> None:
    system = System(300)
    known = Search(system.trial, dataclasses.replace(FULL, precise=0.5)).run()
    assert len(known.confirmations) == FULL.confirmations
    unknown = Search(system.trial, dataclasses.replace(FULL, precise=0.0)).run()
    assert len(unknown.confirmations) > FULL.confirmations


def test_a_rate_that_cannot_be_decided_is_left_after_its_time() -> None:
    """Five of a hundred are late, which is one too many to go on from."""

    def trial(phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        burst = (Block(500, 0, 0), Block(500, 50, 0))
        return Outcome(rate, 30, 1, error_share=0, p95=100, backlog_growth=0, busiest=0.5, blocks=burst)

    noted = Noted(trial)
    found = Search(noted, dataclasses.replace(QUICK, search_seconds=1000)).run()
    first, *_ = found.decisions
    assert (first["decision"], first["windows"], first["seconds"]) == ("undecided", 2, 30)
    assert noted.asked[2][1] == noted.asked[3][1] > noted.asked[4][1]


def test_no_window_is_begun_that_would_not_end_in_time() -> None:
    """The longest search that fits is as long as it may be to the second, and a shorter one has a window less."""
    system, plan = System(300), dataclasses.replace(QUICK, search_seconds=220)
    found = Search(system.trial, plan).run()
    spent = sum(length for _, _, length in system.trials)
    assert spent <= plan.search_seconds < spent + 30
    assert len(found.confirmations) > 1
    for less, fewer in ((0, 0), (0.5, 1)):
        again = Search(System(300).trial, dataclasses.replace(plan, search_seconds=spent - less)).run()
        assert len(again.confirmations) == len(found.confirmations) - fewer
