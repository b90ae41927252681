"""When a replica may answer, told by what it and its primary say at each heartbeat."""

from typing import Any

import pytest

from conduit.adapters import replica as module
from conduit.adapters.positions import PositionRow, ReplayedRow
from conduit.adapters.replica import ASK_PAUSE_SECONDS, HEARTBEAT_SECONDS, SETTLES_SECONDS, STALE_SECONDS, Replica
from conduit.errors import UnavailableError
from conduit.events import Committed

MAX_LAG = 10.0


def position(byte: int, timeline: int = 1) -> str:
    return f"{timeline:08x}{byte:016x}"


class Server:
    """A primary or a standby: what it says, None where it does not answer."""

    server = "one"

    def __init__(self) -> None:
        self.says: Any = None
        self.asked = 0
        self.forgot = 0

    def first(self, _statement: Any) -> Any:
        self.asked += 1
        if self.says is None:
            raise UnavailableError("the database")
        return self.says

    def open(self) -> None: ...

    def close(self) -> None: ...

    def call_when_met(self, met: Any) -> None:
        self.met = met

    def forget_connections(self) -> None:
        self.forgot += 1


class Pair:
    """A replica whose heartbeats and clock are the test's."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.primary, self.standby = Server(), Server()
        self.replica = Replica(self.primary, self.standby, MAX_LAG)  # type: ignore[arg-type]
        self.primary_at(100)
        self.standby_at(100)

    def primary_at(self, byte: int, timeline: int = 1) -> None:
        self.primary.says = PositionRow(position(byte, timeline))

    def standby_at(
        self, byte: int, timeline: int | None = 1, *, started: str = "monday", is_standby: bool = True
    ) -> None:
        received = None if timeline is None else f"{timeline:08x}"
        self.standby.says = ReplayedRow(is_standby, started, received, f"{byte:016x}")

    def beat(self, seconds: float = HEARTBEAT_SECONDS) -> None:
        """Let so much time pass, with a heartbeat at its end."""
        self.now += seconds
        self.replica._ask_primary()
        self.replica._ask()

    def settle(self) -> None:
        for _ in range(int(SETTLES_SECONDS / HEARTBEAT_SECONDS) + 3):
            self.beat()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair()
    monkeypatch.setattr(module, "monotonic", lambda: made.now)
    monkeypatch.setattr(Replica, "open", lambda _self: None)
    return made


def test_a_new_one_answers_nobody_before_it_has_settled(pair: Pair) -> None:
    assert pair.replica.why_not("") == "away"
    heard_at = pair.now + HEARTBEAT_SECONDS
    while pair.replica.why_not("") == "away":
        pair.beat()
        assert pair.now < heard_at + 2 * SETTLES_SECONDS
    assert pair.now - heard_at > SETTLES_SECONDS


def test_it_answers_who_needs_no_more_than_it_has(pair: Pair) -> None:
    pair.settle()
    assert [pair.replica.why_not(needed) for needed in ("", position(99), position(100), position(101))] == [
        *(None, None, None),
        "behind",
    ]
    assert pair.replica.why_not(position(1, timeline=2)) == "behind"


def test_who_needs_more_than_was_heard_asks_but_not_again_at_once(pair: Pair) -> None:
    pair.settle()
    pair.standby_at(200)
    before = pair.standby.asked
    assert pair.replica.why_not(position(150)) == "behind"
    assert pair.standby.asked == before
    pair.now += ASK_PAUSE_SECONDS * 1.01
    assert pair.replica.why_not(position(100)) is None
    assert pair.standby.asked == before
    assert pair.replica.why_not(position(150)) is None
    assert pair.standby.asked == before + 1


@pytest.mark.parametrize("says", ["nothing", "that it is a primary"])
def test_one_that_is_none_any_more_answers_nobody(pair: Pair, says: str) -> None:
    pair.settle()
    if says == "nothing":
        pair.standby.says = None
    else:
        pair.standby_at(200, is_standby=False)
    pair.beat()
    assert pair.replica.why_not("") == "away"
    assert pair.standby.forgot == (says != "nothing")


def test_what_was_heard_is_not_believed_for_long(pair: Pair) -> None:
    pair.settle()
    pair.now += STALE_SECONDS * 0.99
    assert pair.replica.why_not("") is None
    pair.now += STALE_SECONDS * 0.02
    assert pair.replica.why_not("") == "away"


def test_one_that_failed_a_reader_is_asked_again_at_the_next_heartbeat(pair: Pair) -> None:
    pair.settle()
    pair.replica.failed()
    assert pair.replica.why_not("") == "away"
    pair.beat()
    assert pair.replica.why_not("") is None


def test_one_that_was_started_anew_must_have_what_its_primary_had(pair: Pair) -> None:
    pair.settle()
    pair.primary_at(300)
    pair.standby_at(50, started="tuesday")
    for _ in range(20):
        pair.beat()
        assert pair.replica.why_not("") == "away"
    pair.standby_at(299, started="tuesday")
    pair.beat()
    assert pair.replica.why_not("") == "away"
    pair.standby_at(300, started="tuesday")
    pair.beat()
    assert pair.replica.why_not("") is None
    pair.primary_at(400)  # what the primary has by now does not matter any more
    pair.beat()
    assert pair.replica.why_not("") is None


def test_a_new_connection_to_another_start_of_it_ends_what_was_believed(pair: Pair) -> None:
    pair.settle()
    node = pair.replica.node
    pair.standby_at(50, started="tuesday")
    pair.standby.met(lambda _statement: [pair.standby.says])
    assert pair.replica.why_not("") == "away"
    assert pair.replica.node == node + 1


def test_a_new_connection_to_the_same_one_changes_nothing(pair: Pair) -> None:
    pair.settle()
    node = pair.replica.node
    pair.standby.met(lambda _statement: [pair.standby.says])
    assert pair.replica.why_not(position(100)) is None
    assert pair.replica.node == node


def test_on_another_timeline_it_is_not_taken_for_young(pair: Pair) -> None:
    """It is minutes behind when its primary begins another timeline, and follows that."""
    pair.settle()
    pair.primary_at(500)
    pair.beat(MAX_LAG / 2)
    pair.primary_at(600, timeline=2)
    pair.standby_at(110, timeline=2)
    pair.beat(MAX_LAG / 2 + 0.1)
    assert pair.replica.lag_seconds > MAX_LAG
    assert pair.replica.why_not("") == "lagging"
    pair.standby_at(600, timeline=2)
    pair.beat()
    assert pair.replica.lag_seconds == 0.0


def test_after_a_failover_the_new_timeline_is_what_a_new_one_must_have(pair: Pair) -> None:
    pair.settle()
    pair.primary_at(500)
    pair.standby_at(90, started="tuesday")
    pair.beat()
    pair.beat()
    pair.primary_at(120, timeline=2)
    pair.standby_at(130, timeline=2, started="tuesday")
    pair.settle()
    assert pair.replica.why_not("") is None
    assert pair.replica.why_not(position(100)) == "behind"
    assert pair.replica.why_not(position(125, timeline=2)) is None


def test_without_its_primary_it_goes_on_where_it_is_for_as_long_as_it_may_lag(pair: Pair) -> None:
    pair.settle()
    pair.primary.says = None
    pair.standby_at(100, timeline=None)
    pair.beat(MAX_LAG - 1.0)
    assert pair.replica.why_not(position(100)) is None
    pair.beat(1.1)
    assert pair.replica.why_not("") == "lagging"


def test_its_lag_is_the_time_since_its_primary_was_where_it_is(pair: Pair) -> None:
    pair.settle()
    for byte in range(110, 160, 10):  # each heartbeat the primary is ten bytes further, and the replica stays
        pair.primary_at(byte)
        pair.beat()
    assert pair.replica.lag_seconds == pytest.approx(5 * HEARTBEAT_SECONDS)
    pair.standby_at(125)
    pair.beat(0.0)
    assert pair.replica.lag_seconds == pytest.approx(3 * HEARTBEAT_SECONDS)
    pair.standby_at(150)
    pair.beat(0.0)
    assert pair.replica.lag_seconds == 0.0


def test_who_waits_for_it_waits_until_it_is_there(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.settle()

    def sleep(seconds: float) -> None:
        pair.now += seconds * 1.01
        pair.standby_at(int(pair.standby.says.replayed, 16) + 10)

    monkeypatch.setattr(module, "sleep", sleep)
    assert pair.replica.wait_for(position(140), 1.0)
    began = pair.now
    assert not pair.replica.wait_for(position(10_000), 0.5)
    assert 0.5 <= pair.now - began < 0.6
    pair.standby.says = None
    pair.beat()
    monkeypatch.setattr(module, "sleep", lambda seconds: setattr(pair, "now", pair.now + seconds))
    began = pair.now
    assert not pair.replica.wait_for(position(1), 1.0)
    assert pair.now - began >= 1.0


def test_who_wants_to_know_the_primarys_position_is_told_once_it_answers(pair: Pair) -> None:
    told: list[Committed] = []
    pair.primary.says = None
    pair.replica.when_known(told.append)
    pair.beat()
    assert told == []
    pair.primary_at(7)
    pair.beat()
    pair.beat()
    assert told == [Committed("one", position(7))]
