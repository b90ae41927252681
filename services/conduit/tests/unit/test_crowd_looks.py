"""The crowd at a box look by look: looks a second apart, so that each mean is what the last second gave."""

import pytest

from conduit.crowd import LEAST, TURN_SECONDS, Crowd

BUSY, IDLE = 0.03, 0.0


def _after(seconds: float, crowd: Crowd, answers: int = 0, late: float = BUSY, waiting: int = 0) -> None:
    """The next look."""
    for _ in range(answers):
        crowd.answers()
    assert crowd._looked_at is not None
    crowd.look(crowd._looked_at + seconds, late, waiting)


def _looked(under_way: int = 0) -> Crowd:
    crowd = Crowd()
    crowd.look(100.0, IDLE)
    for _ in range(under_way):
        crowd.begins()
    return crowd


def _places(crowd: Crowd) -> int:
    """How many are let in before the next look, in an overload."""
    crowd.is_overloaded = True
    crowd.is_turned_away(crowd._looked_at or 0.0)
    count = 0
    while not crowd.is_full:
        crowd.enters()
        count += 1
    return count


def test_places_are_for_as_many_as_are_answered_in_0_15_seconds() -> None:
    crowd = _looked()
    assert not crowd.is_overloaded
    _after(1, crowd, answers=400)
    assert _places(crowd) == 60
    _after(0.5, crowd, answers=100)  # 200 a second for half a second: 300 on average
    assert _places(crowd) == 45
    _after(2, crowd, answers=300)  # longer than the mean goes back: 150 a second
    assert _places(crowd) == 22
    _after(1, crowd, answers=20)
    assert _places(crowd) == LEAST


def test_who_is_under_way_has_a_place_but_who_waits_elsewhere_has_none() -> None:
    crowd = _looked(under_way=10)
    _after(1, crowd, answers=400, waiting=3)
    assert _places(crowd) == 53
    crowd.leaves()
    _after(1, crowd, answers=400, waiting=3)
    assert _places(crowd) == 54


def test_two_looks_at_the_same_time_are_one() -> None:
    crowd = _looked()
    _after(1, crowd, answers=400)
    _after(0, crowd, answers=100)
    _after(1, crowd, answers=300)
    assert _places(crowd) == 60


@pytest.mark.parametrize(
    ("under_way", "waiting", "answers", "late", "is_one"),
    [
        (30, 0, 100, 0.01, True),
        (29, 0, 100, 0.01, False),  # they wait for less than 0.3 s
        (30, 1, 100, 0.01, False),
        (31, 1, 100, 0.01, True),
        (30, 0, 100, 0.0099, False),
        (5, 0, 1, 0.01, True),
        (4, 0, 1, 0.01, False),
        (5, 0, 0, 0.01, True),
    ],
)
def test_it_is_an_overload_when_a_crowd_has_stood_for_longer_than_two_seconds(
    *, under_way: int, waiting: int, answers: int, late: float, is_one: bool
) -> None:
    crowd = _looked(under_way)
    for _ in range(3):
        _after(1, crowd, answers, late, waiting)
        assert not crowd.is_overloaded
    _after(0.01, crowd, answers // 100, late, waiting)
    assert crowd.is_overloaded is is_one


def test_a_crowd_that_was_smaller_in_between_has_to_stand_anew() -> None:
    crowd = _looked(under_way=30)
    for _ in range(2):
        _after(1, crowd, answers=100)
    crowd.leaves()
    _after(1, crowd, answers=100)
    crowd.begins()
    for _ in range(3):
        _after(1, crowd, answers=100)
        assert not crowd.is_overloaded
    _after(1, crowd, answers=100)
    assert crowd.is_overloaded


@pytest.mark.parametrize(("late", "is_one"), [(TURN_SECONDS, False), (TURN_SECONDS + 0.001, True)])
def test_a_turn_is_long_beyond_a_quarter_second(late: float, is_one: bool) -> None:
    crowd = _looked(under_way=30)
    _after(1, crowd, answers=100, late=late)
    assert crowd.is_overloaded is is_one


@pytest.mark.parametrize(
    ("seconds", "late", "is_one"), [(0.99, BUSY, True), (1.0, BUSY, False), (0.99, 0.0019, False), (0.99, 0.002, True)]
)
def test_it_is_over_a_second_after_the_last_was_turned_away_or_when_the_loop_is_idle(
    *, seconds: float, late: float, is_one: bool
) -> None:
    crowd = _looked()
    crowd.look(101.0, late)
    crowd.is_overloaded = True
    crowd.is_turned_away(101.5)
    crowd.look(101.5 + seconds, late)
    assert crowd.is_overloaded is is_one


def test_an_overload_begins_with_a_second_of_its_own() -> None:
    crowd = _looked(under_way=30)
    _after(1, crowd, answers=100, late=0.3)
    _after(0.9, crowd, answers=100, late=0.3)
    assert crowd.is_overloaded
    _after(0.2, crowd, answers=100, late=0.3)
    assert not crowd.is_overloaded
    assert crowd._stands_since is None, "the next one has to stand anew"


def test_a_loop_that_was_idle_from_the_start_is_not_busy() -> None:
    crowd = _looked(under_way=30)
    for _ in range(8):
        _after(0.5, crowd, answers=50, late=0.0)
        assert not crowd.is_overloaded


def test_nobody_waits_elsewhere_where_none_are_told_of() -> None:
    crowd = _looked(under_way=10)
    for _ in range(400):
        crowd.answers()
    crowd.look(101.0, BUSY)
    assert _places(crowd) == 50
