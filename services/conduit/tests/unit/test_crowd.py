"""The crowd at a box: what is an overload and what is not, and how many are let in, at boxes of any speed."""

from dataclasses import dataclass, field

import pytest

from conduit.crowd import LEAST, OVERLOAD_SECONDS, STANDS_SECONDS, TURN_SECONDS, WAIT_SECONDS, Crowd

LOOK = 0.05
BUSY, IDLE = 0.03, 0.0


@dataclass
class _Box:
    """One that answers ``speed`` requests a second, in their order, by a clock of its own."""

    speed: float
    crowd: Crowd = field(default_factory=Crowd)
    now: float = 100.0
    answered: float = 0.0
    turned_away: float = 0.0
    let_in: float = 0.0
    arriving: float = 0.0
    able: float = 0.0

    def offered(self, rate: float, seconds: float, late: float | None = None) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.arriving += rate * LOOK
            while self.arriving >= 1:
                self.arriving -= 1
                if self.crowd.is_full:
                    self.crowd.is_turned_away(self.now)
                    self.turned_away += 1
                else:
                    self.let_in += 1
                    self.crowd.enters()
                    self.crowd.begins()
            self.able = min(self.able + self.speed * LOOK, self.crowd.under_way + self.speed * LOOK)
            done = min(int(self.able), self.crowd.under_way)
            for _ in range(done):
                self.crowd.leaves()
                self.crowd.answers()
            self.able -= done
            self.answered += done
            self.crowd.look(self.now, late if late is not None else BUSY if self.crowd.under_way else IDLE)

    @property
    def wait(self) -> float:
        return self.crowd.under_way / self.speed


@pytest.fixture(params=[50.0, 2000.0], ids=["slow", "fast"])
def box(request: pytest.FixtureRequest) -> _Box:
    return _Box(request.param)


def test_nobody_is_turned_away_below_the_ceiling_bursts_or_not(box: _Box) -> None:
    for _ in range(5):
        box.offered(0.9 * box.speed, 3)
        box.offered(3 * box.speed, 0.5)  # a second's work more than it can do meanwhile
        box.offered(0.3 * box.speed, 2)
    assert box.turned_away == 0


def test_in_an_overload_as_many_are_answered_as_it_can_and_none_waits_long(box: _Box) -> None:
    box.offered(0.7 * box.speed, 5)
    box.offered(3 * box.speed, OVERLOAD_SECONDS + STANDS_SECONDS + 0.2)
    assert box.crowd.is_overloaded
    box.offered(3 * box.speed, 5)  # what had come in before is answered
    box.answered = 0
    for _ in range(100):
        box.offered(3 * box.speed, 0.1)
        assert box.wait <= WAIT_SECONDS + 0.1
    assert box.answered >= 0.9 * 10 * box.speed


def test_of_many_who_come_at_once_as_many_are_let_in_as_have_a_place(box: _Box) -> None:
    """Before the next look."""
    box.offered(3 * box.speed, 10)
    box.offered(0, 0.5)
    assert box.crowd.is_overloaded
    before = box.let_in
    box.offered(10 * box.speed, LOOK)
    assert box.let_in - before <= max(LEAST, WAIT_SECONDS * box.speed) + 1


def test_who_is_connected_may_come_again_until_half_as_many_again_are_under_way() -> None:
    box = _Box(200)
    box.offered(600, 10)
    for _ in range(20):  # so that the mean is of 200 a second, of which 30 may be under way
        box.offered(0, LOOK)
        for _ in range(10):
            box.crowd.answers()
    assert box.crowd.is_overloaded
    for _ in range(43):
        box.crowd.begins()
    assert not box.crowd.is_too_large
    for _ in range(4):
        box.crowd.begins()
    assert box.crowd.is_too_large
    box.crowd.look(box.now + LOOK, BUSY, waiting=5)
    assert not box.crowd.is_too_large


def test_without_an_overload_no_crowd_is_too_large() -> None:
    box = _Box(10)
    box.offered(10, 5)
    for _ in range(100):
        box.crowd.begins()
    assert not box.crowd.is_too_large


def test_when_it_is_over_all_are_let_in_again(box: _Box) -> None:
    box.offered(3 * box.speed, 10)
    assert box.crowd.is_overloaded
    box.offered(0.7 * box.speed, 2.0)
    assert not box.crowd.is_overloaded
    before = box.turned_away
    box.offered(0.7 * box.speed, 10)
    assert box.turned_away == before


def test_a_long_turn_with_a_crowd_is_an_overload_at_once(box: _Box) -> None:
    box.offered(0.9 * box.speed, 3)
    box.offered(8 * box.speed, 2 * LOOK)
    assert not box.crowd.is_overloaded
    box.offered(0, LOOK, late=TURN_SECONDS + 0.01)
    assert box.crowd.is_overloaded


def test_a_long_turn_of_a_quiet_box_is_none(box: _Box) -> None:
    box.offered(0.3 * box.speed, 3)
    box.offered(0.3 * box.speed, LOOK, late=1.5)
    assert not box.crowd.is_overloaded


@pytest.mark.parametrize("under_way", [0, LEAST])
def test_a_loop_that_is_late_without_a_crowd_is_none(under_way: int) -> None:
    box = _Box(0)
    for _ in range(under_way):
        box.crowd.begins()
    box.offered(0, 10, late=TURN_SECONDS + 0.01)
    assert not box.crowd.is_overloaded


def test_who_waits_for_a_turn_elsewhere_keeps_nobody_out() -> None:
    """Uploads, and sign-ins: nothing is done for them meanwhile."""
    box = _Box(20)
    waiting = 12
    for _ in range(waiting):
        box.crowd.begins()
    for _ in range(200):
        box.now += LOOK
        box.crowd.answers()
        box.crowd.look(box.now, BUSY, waiting)
    assert not box.crowd.is_overloaded
    box.crowd.is_overloaded = True
    box.crowd.is_turned_away(box.now)
    box.crowd.look(box.now + LOOK, BUSY, waiting)
    assert not box.crowd.is_full


def test_it_is_one_until_the_loop_is_idle() -> None:
    """While newcomers are turned away, the others' turns are shorter."""
    box = _Box(100)
    box.offered(300, 10)
    box.offered(300, 5, late=0.005)
    assert box.crowd.is_overloaded
    box.offered(300, 10, late=IDLE)
    assert not box.crowd.is_overloaded


def test_many_that_wait_for_the_database_are_none() -> None:
    box = _Box(100)
    box.offered(50, 5)
    box.speed = 0
    box.offered(50, 10, late=IDLE)
    assert box.crowd.under_way > 400
    assert not box.crowd.is_overloaded


def test_a_database_that_hangs_in_an_overload_ends_it() -> None:
    box = _Box(100)
    box.offered(300, 10)
    assert box.crowd.is_overloaded
    box.speed = 0
    box.offered(300, 6, late=IDLE)
    assert not box.crowd.is_overloaded


@pytest.mark.parametrize("speed", [2.0, 20.0])
@pytest.mark.parametrize("still", [TURN_SECONDS + 0.05, 1.5])
def test_a_box_that_stood_still_in_an_overload_lets_people_in_again(speed: float, still: float) -> None:
    """Also where it answers less than one request in a look."""
    box = _Box(speed)
    box.offered(3 * speed, 20)
    assert box.crowd.is_overloaded
    box.now += still
    box.crowd.look(box.now, still)
    box.offered(0.5 * speed, 10, late=BUSY)
    box.let_in = box.turned_away = 0
    box.offered(0.5 * speed, 40, late=BUSY)
    assert box.turned_away == 0
    assert box.let_in >= 19 * speed


def test_who_gives_up_is_not_taken_for_answered() -> None:
    box = _Box(100)
    box.offered(300, 10)
    places = box.crowd._places
    for _ in range(50):
        box.crowd.begins()
    for _ in range(50):
        box.crowd.leaves()
    box.now += LOOK
    box.crowd.look(box.now, BUSY)
    assert box.crowd._places <= places + 1


# By hand: looks a second apart, so that each mean is what the last second gave ----------------------------------


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
