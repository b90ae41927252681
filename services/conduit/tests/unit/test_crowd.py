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
