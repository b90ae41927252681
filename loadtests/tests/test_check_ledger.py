"""What became of writes: lost, doubled, or only unknown."""

import pytest

from loadtests.check.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Change, Creation, count, idle_kinds, outcome


@pytest.mark.parametrize(
    ("status", "said"),
    [(201, ACKNOWLEDGED), (204, ACKNOWLEDGED), (422, REFUSED), (429, REFUSED), (408, UNKNOWN), (499, UNKNOWN),
     (500, UNKNOWN), (503, UNKNOWN), (None, UNKNOWN)],
)  # fmt: skip
def test_only_an_answer_that_came_says_whether_it_was_done(status: int | None, said: str) -> None:
    assert outcome(status) == said


@pytest.mark.parametrize(
    ("told", "times", "fault"),
    [
        (ACKNOWLEDGED, 1, None), (ACKNOWLEDGED, 0, "lost"), (ACKNOWLEDGED, 2, "doubled"),
        (UNKNOWN, 0, None), (UNKNOWN, 1, None), (UNKNOWN, 2, "doubled"),
        (REFUSED, 0, None), (REFUSED, 1, "refused_but_there"),
    ],
)  # fmt: skip
def test_what_was_to_be_there_is_there_as_it_was_told(told: str, times: int, fault: str | None) -> None:
    of_it = count([Creation("article", "one", told)], {"one": times, "another": 3})["article"]
    assert of_it.holds is (fault is None)
    found = of_it.record()
    assert {name: found[name] for name in ("lost", "doubled", "refused_but_there")} == {
        name: ["one"] if name == fault else [] for name in ("lost", "doubled", "refused_but_there")
    }
    assert found[told] == 1


@pytest.mark.parametrize(
    ("changes", "shown", "lost"),
    [
        ([(True, ACKNOWLEDGED)], True, False),
        ([(True, ACKNOWLEDGED)], None, True),
        ([(True, ACKNOWLEDGED), (False, ACKNOWLEDGED)], True, True),
        ([(True, ACKNOWLEDGED), (False, UNKNOWN)], True, False),
        ([(True, ACKNOWLEDGED), (False, UNKNOWN)], False, False),
        ([(True, ACKNOWLEDGED), (False, REFUSED)], False, True),
        ([(True, UNKNOWN)], None, False),
    ],
)
def test_the_last_change_that_was_acknowledged_shows_or_one_after_it_whose_answer_never_came(
    changes: list[tuple[bool, str]], shown: bool | None, lost: bool
) -> None:
    counts = count([], {}, [Change("favourite", "x", *change) for change in changes], {("favourite", "x"): shown})
    assert counts["favourite"].lost == (["x"] if lost else [])
    assert counts["favourite"].holds is not lost


def test_a_kind_of_which_nothing_was_acknowledged_gives_no_verdict() -> None:
    told = [
        Creation("article", "one", ACKNOWLEDGED),
        Creation("article", "two", REFUSED),
        Creation("comment", "c", UNKNOWN),
    ]
    counts = count(told, {"one": 1}, [Change("cover", "x", "ready", REFUSED)], {})
    assert idle_kinds(counts) == ["comment", "cover"]
    assert idle_kinds({}) == ["any write"]
