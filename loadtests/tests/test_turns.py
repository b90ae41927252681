"""Stages measured in turn: the order, and each step's ratio and interval by hand."""

import itertools
import math

import pytest

from loadtests.report import turns as told
from loadtests.report import words
from loadtests.tests.in_turn import THERE_AND_BACK, a_ceiling, left_by, turns_of
from loadtests.tests.runs import record
from loadtests.turns.figures import order, ratio, steps, turn

HITS = ((3, 0.4), (4, 0.7), (4, 0.9), (3, 0.6))


def test_the_ratio_is_the_geometric_mean_of_the_pairs() -> None:
    """40 to 80 and 50 to 225: 2 and 4.5, of which the mean is 3."""
    found = ratio([a_ceiling(40), a_ceiling(50)], [a_ceiling(80), a_ceiling(225)])
    assert found.middle == pytest.approx(3)
    assert found.pairs == (2, 4.5)


def test_pairs_that_differ_make_it_wide_although_each_ceiling_is_sure() -> None:
    """Half of log(4.5/2) is the mean's standard error: 0.405, times 1.96."""
    found = ratio([a_ceiling(40), a_ceiling(50)], [a_ceiling(80), a_ceiling(225)])
    assert found.low == pytest.approx(3 * math.exp(-1.96 * 0.4055), rel=1e-3)
    assert found.high == pytest.approx(3 * math.exp(1.96 * 0.4055), rel=1e-3)


def test_ceilings_that_are_unsure_make_it_wide_although_the_pairs_agree() -> None:
    """Four intervals of a factor 1.1 either way: their logs add as squares do, 2 x 0.0953, and half of that counts."""
    found = ratio([a_ceiling(40, 1.1), a_ceiling(50, 1.1)], [a_ceiling(80, 1.1), a_ceiling(100, 1.1)])
    assert found.high == pytest.approx(2 * 1.1)
    assert found.low == pytest.approx(2 / 1.1)


@pytest.mark.parametrize("several", [(2, 3), (1, 2, 3, 4), (1, 3, 4)])
def test_any_two_neighbours_are_measured_a_b_b_a(several: tuple[int, ...]) -> None:
    for a, b in itertools.pairwise(several):
        assert [one for one in order(several) if one in (a, b)] == [a, b, b, a]


def test_each_step_has_a_ratio_of_its_own() -> None:
    """1 to 2: 80/40 and 225/50, in the middle 3. 2 to 3: 160/80 and 900/225, in the middle the root of 8."""
    first, second = steps((1, 2, 3), turns_of(*THERE_AND_BACK))
    assert (first["from"], first["to"], second["from"], second["to"]) == (1, 2, 2, 3)
    assert first["ratio"]["pairs"] == (2, 4.5)
    assert first["ratio"]["middle"] == pytest.approx(3)
    assert second["ratio"]["pairs"] == (2, 4)
    assert second["ratio"]["middle"] == pytest.approx(math.sqrt(8))
    assert [one["rate"] for one in second["ceilings"]["from"]] == [80, 225]


def test_what_a_request_leads_to_changes_by_the_means_of_both_searches() -> None:
    """Queries: (3 + 1) / 2 = 2 to (1 + 0.5) / 2 = 0.75, which is 62.5 % less. Only one end has an origin."""
    a = turns_of(left_by(1, 40, 3.0), left_by(1, 50, 1.0))
    b = turns_of(left_by(2, 80, a_request={"queries": 1.0, "origin_requests": 0.7}), left_by(2, 90, 0.5))
    (step,) = steps((1, 2), [*a, *b])
    assert step["counted"] == {"queries": {"from": 2.0, "to": 0.75, "change": -0.625}}


def test_no_change_is_told_of_what_was_not_there_before() -> None:
    (step,) = steps((1, 2), turns_of(left_by(1, 40, 0.0), left_by(2, 80), left_by(2, 80), left_by(1, 40, 0.0)))
    assert step["counted"]["queries"]["change"] is None


def test_hits_are_the_mean_at_each_stage_that_has_a_cache() -> None:
    cached = [left_by(3, 100, a_request={"queries": 0.5, "hit_ratio": share}) for share in (0.7, 0.8)]
    (step,) = steps((2, 3), turns_of(left_by(2, 50), *cached, left_by(2, 50)))
    assert step["hit_ratio"]["from"] is None
    assert step["hit_ratio"]["to"] == pytest.approx(0.75)
    assert set(step["counted"]) == {"queries"}, "a change of a ratio is no ratio of what is done"


def test_hits_of_two_stages_with_a_cache_are_no_change() -> None:
    shares = [left_by(stage, 9, a_request={"queries": 1.0, "hit_ratio": hits}) for stage, hits in HITS]
    (step,) = steps((3, 4), turns_of(*shares))
    assert step["hit_ratio"] == {"from": pytest.approx(0.5), "to": pytest.approx(0.8)}
    assert set(step["counted"]) == {"queries"}


def test_a_search_that_does_not_count_is_kept_with_its_reason() -> None:
    kept = {"stage": 3, "run": "at", "why_none": "slow", "ceiling": None, "a_request": {}, "overload": []}
    assert turn(3, left_by(3, 9), "at", "slow") == kept


def test_searches_that_are_no_pairs_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([a_ceiling(40)], [a_ceiling(80), a_ceiling(90)])


def test_goodput_is_told_of_both_searches_but_not_where_the_machine_was_the_limit() -> None:
    limited = left_by(2, 80, kept=0.4)
    limited["overload"]["over"][1]["limits"] = ["host with 1% idle CPU"]
    there, back = left_by(1, 40, kept=0.1), left_by(1, 40, kept=0.2)
    (step,) = steps((1, 2), turns_of(there, limited, left_by(2, 80, kept=0.8), back))
    twice, thrice = step["goodput"]
    assert twice == {"times": 2.0, "from": [0.1, 0.2], "to": [0.4, 0.8]}
    assert thrice["times"] == 3.0
    assert thrice["from"] == pytest.approx([0.075, 0.15])
    assert thrice["to"] == [None, pytest.approx(0.6)]


def test_it_is_read_from_what_a_search_leaves() -> None:
    """Of a known system with a ceiling of 0.88 times its capacity, so 2.5 times as high at stage 3, and 1.5 queries a
    request to 0.5.
    """
    a, b = record(capacity=100, stage=2), record(capacity=250, stage=3)
    (row,) = told.rows({"mix": {"name": "browse"}, "steps": steps((2, 3), turns_of(a, b, b, a))})
    assert float(row.ratio) == pytest.approx(2.5, rel=0.05)
    assert (row.queries, row.hits) == ("−67 %", "– → 90 %")
    kept = [[words.percent(load["share"]) for load in run["overload"]["over"]] for run in (a, b)]
    assert row.twice == f"{kept[0][0]}, {kept[0][0]} → {kept[1][0]}, {kept[1][0]}"
    assert row.thrice == f"{kept[0][1]}, {kept[0][1]} → {kept[1][1]}, {kept[1][1]}"


def test_a_search_without_a_verdict_takes_only_its_steps_ratios() -> None:
    """Of 1 2 3 3 2 1 the first has none: the step from 2 to 3 is whole."""
    turns = turns_of(*THERE_AND_BACK)
    turns[0] = turn(1, {}, None, "host with 1% idle CPU")
    first, second = steps((1, 2, 3), turns)
    assert first["ratio"] is None
    assert first["counted"] == {}
    assert [one and one["rate"] for one in first["ceilings"]["from"]] == [None, 50]
    assert first["goodput"][0]["from"] == [None, 0.5]
    assert second["ratio"]["pairs"] == (2, 4)


@pytest.mark.parametrize(("done", "ratios"), [(0, [False, False]), (4, [False, False]), (5, [False, True])])
def test_after_so_many_searches_the_steps_whose_pairs_are_whole_have_a_ratio(done: int, ratios: list[bool]) -> None:
    found = steps((1, 2, 3), turns_of(*THERE_AND_BACK[:done]))
    assert [step["ratio"] is not None for step in found] == ratios
