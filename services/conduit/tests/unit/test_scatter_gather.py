"""Several servers asked at once: their answers, who is missing, and what the request is told of it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conduit.adapters.scatter_gather import SomeMissingError, gather, gather_some
from conduit.errors import UnavailableError
from conduit.timing import Tally, tally


class Server:
    """Answers with its name, or not at all."""

    def __init__(self, server: str, answers: bool = True) -> None:
        self.server = server
        self._answers = answers

    def first(self, *_: Any) -> str:
        request = tally.get()
        assert request is not None
        request.add_query(self.server, 0.5)
        if not self._answers:
            raise UnavailableError("the database")
        return self.server


@pytest.fixture
def request_tally() -> Iterator[Tally]:
    spent = Tally()
    token = tally.set(spent)
    yield spent
    tally.reset(token)


def _ask(reader: Any) -> str:
    return str(reader.first())


ONE, TWO, THREE, AWAY = Server("one"), Server("two"), Server("three"), Server("away", answers=False)


def test_answers_are_in_the_servers_order_and_counted_for_the_request(request_tally: Tally) -> None:
    servers: Any = [THREE, ONE, TWO]
    assert gather(servers, _ask) == gather_some(servers, _ask) == ["three", "one", "two"]
    assert request_tally.queries == {"one": 2, "two": 2, "three": 2}
    assert request_tally.missing == set()


def test_nobody_asked_answers_nothing() -> None:
    assert gather([], _ask) == gather_some([], _ask) == []


@pytest.mark.parametrize("servers", [[AWAY, ONE, TWO], [ONE, AWAY, TWO], [ONE, TWO, AWAY]])
def test_who_can_do_without_one_is_told_which(request_tally: Tally, servers: Any) -> None:
    assert gather_some(servers, _ask) == ["one", "two"]
    assert request_tally.missing == {"away"}


@pytest.mark.parametrize("servers", [[AWAY, ONE], [ONE, AWAY]])
def test_who_needs_all_gets_an_error_that_others_answered(request_tally: Tally, servers: Any) -> None:
    with pytest.raises(SomeMissingError):
        gather(servers, _ask)
    assert request_tally.missing == set()


@pytest.mark.usefixtures("request_tally")
@pytest.mark.parametrize("servers", [[AWAY], [AWAY, Server("too", answers=False)]])
def test_without_any_answer_there_is_none(servers: Any) -> None:
    for ask in (gather, gather_some):
        with pytest.raises(UnavailableError) as failed:
            ask(servers, _ask)
        assert not isinstance(failed.value, SomeMissingError)


def test_where_others_have_other_parts_nothing_is_a_part_that_is_missing(request_tally: Tally) -> None:
    servers: Any = [AWAY]
    assert gather_some(servers, _ask, others=True) == []
    assert request_tally.missing == {"away"}
    with pytest.raises(SomeMissingError):
        gather(servers, _ask, others=True)


def test_they_are_asked_side_by_side_and_the_time_is_counted_once(request_tally: Tally) -> None:
    all_there = threading.Barrier(3)

    def ask(reader: Any) -> str:
        all_there.wait(10)  # breaks where they are asked one after the other
        time.sleep(0.05)
        return str(reader.first())

    started = time.perf_counter()
    servers: Any = [ONE, TWO, THREE]
    assert gather(servers, ask) == ["one", "two", "three"]
    assert 0.05 <= request_tally.database_seconds <= time.perf_counter() - started


def test_another_error_is_the_caller_s(request_tally: Tally) -> None:
    def ask(reader: Any) -> str:
        if reader is TWO:
            raise ValueError("a mistake")
        return "fine"

    servers: Any = [ONE, TWO]
    with pytest.raises(ValueError, match="a mistake"):
        gather_some(servers, ask)
    assert request_tally.missing == set()
