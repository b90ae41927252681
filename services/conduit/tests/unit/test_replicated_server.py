"""Who answers a read: the replica, or its primary, by what the reader needs and what is under way."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from conduit import sessions
from conduit.adapters.positions import PositionRow
from conduit.adapters.replicated_server import MORE_AT_REPLICA, ReplicatedServer
from conduit.errors import ConflictError, SlowError, UnavailableError
from conduit.sessions import Session
from conduit.statements import NoRow, Statement
from conduit_testing.waiting import until

READ = Statement("read", text("SELECT 1"), NoRow)
HERE = "000000010000000000000001"


class Server:
    """Answers with its name; may be held up, or raise."""

    server = "one"

    def __init__(self, name: str) -> None:
        self._name = name
        self.go_on = threading.Event()
        self.go_on.set()
        self.under_way = 0
        self.error: Exception | None = None

    def all(self, _statement: Any, **_parameters: Any) -> list[str]:
        self.under_way += 1
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return [self._name]

    def first(self, _statement: Any) -> PositionRow:
        return PositionRow(HERE)


class Replica:
    def __init__(self) -> None:
        self.standby = Server("replica")
        self.node, self.lag_seconds = 1, 0.5
        self.says: str | None = None
        self.failures = 0

    def why_not(self, _needed: str) -> str | None:
        return self.says

    def failed(self) -> None:
        self.failures += 1


class Pins:
    def __init__(self) -> None:
        self.kept: list[tuple[int, str, str]] = []

    def of(self, _user_id: int) -> dict[str, str]:
        return {}

    def raise_to(self, *pin: Any) -> None:
        self.kept.append(pin)


class Site:
    def __init__(self) -> None:
        self.primary, self.replica, self.pins = Server("primary"), Replica(), Pins()
        self.server = ReplicatedServer(self.primary, self.replica, self.pins)  # type: ignore[arg-type]

    def read(self, viewer: int | None = None, *, may_lag: bool = True) -> Any:
        session = Session(may_lag=may_lag)
        session.viewer = viewer
        token = sessions.current.set(session)
        try:
            (answer,) = self.server.all(READ)
            return answer
        finally:
            sessions.current.reset(token)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def threads(site: Site) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads
        site.replica.standby.go_on.set()


def test_a_get_is_answered_by_the_replica_and_nothing_else_is(site: Site) -> None:
    assert site.read() == "replica"
    assert site.read(viewer=7) == "replica"
    assert site.read(may_lag=False) == "primary"
    assert [*map(str, site.server.all(READ))] == ["primary"], "outside of a request"
    assert site.pins.kept == []


@pytest.mark.parametrize("why_not", ["away", "lagging", "behind"])
def test_whom_the_primary_answers_in_its_place_is_pinned(site: Site, why_not: str) -> None:
    site.replica.says = why_not
    assert site.read() == "primary"
    assert site.pins.kept == [], "who is not signed in has none"
    assert site.read(viewer=7) == "primary"
    assert site.pins.kept == [(7, "one", HERE)]


def test_of_those_who_are_not_signed_in_the_primary_answers_some_when_the_replica_is_busy(
    site: Site, threads: ThreadPoolExecutor
) -> None:
    site.replica.standby.go_on.clear()
    waiting = [threads.submit(site.read) for _ in range(MORE_AT_REPLICA + 1)]
    until(lambda: site.replica.standby.under_way == len(waiting), "they do not read")
    assert site.read() == "primary"
    signed_in = threads.submit(site.read, 7)
    until(lambda: site.replica.standby.under_way == len(waiting) + 1, "it does not read from the replica")
    site.replica.standby.go_on.set()
    assert [one.result(5) for one in (*waiting, signed_in)] == ["replica"] * (len(waiting) + 1)
    assert site.read() == "replica"


@pytest.mark.parametrize(
    ("error", "failures"),
    [(UnavailableError("the database"), 1), (ConflictError(), 0)],
    ids=["no answer", "a conflict"],
)
def test_a_replica_that_does_not_answer_is_no_error(site: Site, error: Exception, failures: int) -> None:
    site.replica.standby.error = error
    assert site.read() == "primary"
    assert site.replica.failures == failures


def test_what_is_too_slow_for_the_replica_is_not_tried_again(site: Site) -> None:
    site.replica.standby.error = SlowError("the database")
    with pytest.raises(SlowError):
        site.read()
    assert site.primary.under_way == 0
    assert site.replica.failures == 0


def test_what_another_start_of_the_replica_answered_is_not_taken(site: Site) -> None:
    def restarted(_statement: Any, **_parameters: Any) -> list[str]:
        site.replica.node += 1
        return ["another"]

    site.replica.standby.all = restarted  # type: ignore[method-assign]
    assert site.read() == "primary"
