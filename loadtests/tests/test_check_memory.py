"""What readers remember: a read that misses what they wrote, one that goes back in time, and one that does neither."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from loadtests.check import faults
from loadtests.check.memory import Memory, added_up
from loadtests.check.person import NOTHING, Person, number_in
from loadtests.experiments.scene import CannotError

Saw = tuple[int, bool]
CACHED, NOT_CACHED = True, False


def remembered(memory: Memory) -> dict[str, int]:
    of_it = memory.kinds["list"]
    return {"reads": of_it.reads, "stale": len(of_it.stale), "back": len(of_it.back)}


@pytest.mark.parametrize(
    ("wrote", "saw", "stale", "back"),
    [
        (None, [(1, CACHED), (1, NOT_CACHED), (2, CACHED)], 0, 0),
        (3, [(3, CACHED), (4, NOT_CACHED)], 0, 0),
        (3, [(2, CACHED), (2, NOT_CACHED)], 2, 0),
        (None, [(2, CACHED), (1, CACHED)], 0, 1),
        (None, [(2, NOT_CACHED), (1, NOT_CACHED), (1, NOT_CACHED), (2, NOT_CACHED)], 0, 2),
        (None, [(2, CACHED), (1, NOT_CACHED)], 0, 1),
        (None, [(2, NOT_CACHED), (1, CACHED)], 0, 0),  # the cache was not told yet
        (None, [(2, NOT_CACHED), (1, CACHED), (2, CACHED), (1, CACHED)], 0, 1),
        (1, [(NOTHING, CACHED)], 1, 0),
    ],
)
def test_a_number_never_falls(wrote: int | None, saw: list[Saw], stale: int, back: int) -> None:
    memory = Memory()
    if wrote is not None:
        memory.wrote("thing", wrote)
    for number, cached in saw:
        memory.saw("list", "thing", number, cached=cached)
    assert remembered(memory) == {"reads": len(saw), "stale": stale, "back": back}


def test_things_are_remembered_apart_and_kinds_are_added_up() -> None:
    memories = Memory(), Memory()
    for memory in memories:
        memory.saw("list", "one", 5, cached=False)
        memory.saw("feed", "one", 4, cached=False)
        memory.saw("list", "two", 1, cached=False)
    memories[1].saw_nothing("feed")
    memories[1].saw_foreign("list", "somebody else's")
    total = added_up(memories)
    assert (total["list"].reads, total["list"].back, total["list"].foreign) == (4, [], ["somebody else's"])
    assert (total["feed"].reads, total["feed"].unanswered, len(total["feed"].back)) == (2, 1, 2)
    assert [kind for kind, of_it in total.items() if not of_it.holds] == ["list", "feed"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("check-ab12-7", 7), ("Number-30", 30), ("30", 30), ("check-ab12", NOTHING), ("", NOTHING), (None, NOTHING)],
)
def test_the_number_is_at_the_texts_end(text: str | None, number: int) -> None:
    assert number_in(text) == number


Answer = Callable[[httpx.Request], httpx.Response]


def person_at(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> Person:
    def all_of_it(request: httpx.Request) -> httpx.Response:
        return answer(request) if request.method == "GET" else httpx.Response(201, json={"user": {"token": "t"}})

    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(all_of_it)))
    return Person("http://stage")


def test_a_list_shows_each_writers_newest_and_is_asked_for_past_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append("before" in request.url.params)
        titles = ["a-9", "b-4", "a-10", "else"] if len(asked) == 1 else ["a-9", "b-4"]
        return httpx.Response(200, json={"articles": [{"title": title} for title in titles]})

    person = person_at(monkeypatch, answer)
    for cached in (True, False):
        person.look_at_list("list", "/api/articles", ["a", "b", "c"], cached=cached)
    assert asked == [False, True]
    of_it = person.memory.kinds["list"]
    assert (of_it.reads, of_it.back) == (6, ["articles of a: 9, after 10 was seen"])


@pytest.mark.parametrize("headers", [{"X-Partial": "shard1"}, None])
def test_what_is_partial_or_no_answer_says_nothing(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str] | None
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if headers is None else httpx.Response(200, headers=headers, json={"articles": []})

    person = person_at(monkeypatch, answer)
    person.memory.wrote("articles of a", 1)
    person.look_at_list("list", "/api/articles", ["a"], cached=True)
    of_it = person.memory.kinds["list"]
    assert (of_it.reads, of_it.unanswered, of_it.holds) == (0, 1, True)


def test_somebody_who_is_not_there_any_more_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    person = person_at(monkeypatch, lambda _request: httpx.Response(404))
    person.look_at_bio("a", "profile")
    assert person.memory.kinds["profile"].stale == ["/api/profiles/a is not there"]


def test_a_full_page_without_somebody_says_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = iter([["a-1", "b-1"], ["b-3", "b-2"]])

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"articles": [{"title": title} for title in next(titles)]})

    person = person_at(monkeypatch, answer)
    for _ in range(2):
        person.look_at_list("list", "/api/articles", ["a", "b"], cached=True, limit=2)
    assert (person.memory.kinds["list"].reads, person.memory.kinds["list"].back) == (3, [])


STAGE_5: Any = ("app1", "app2", "cache", "broker", "etcd", "shard1a", "shard1b", "shard2a", "shard2b", "worker")


def test_what_may_lose_writes_is_caused_only_if_it_is_asked_for() -> None:
    by_itself = {fault.key for fault in faults.chosen(STAGE_5, "")}
    assert {"kill-app", "pause-replica", "switchover", "etcd-down"} <= by_itself
    assert by_itself.isdisjoint({"kill-primary", "freeze-primary", "failover", "kill-box", "kill-database"})
    assert [fault.name for fault in faults.chosen(STAGE_5, "freeze-primary")] == ["primary frozen"]


def test_a_fault_that_the_stage_does_not_have_is_answered_with_those_that_it_has() -> None:
    with pytest.raises(CannotError, match=r"no FAULT=failover. Possible: nothing, disconnects, kill-box"):
        faults.chosen(("box",), "failover")
