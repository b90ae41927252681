"""What `make stage5 bench-failover` makes of what it measured."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from loadtests.bench.failover import Commenter, figures, longest_pause
from loadtests.experiments.scene import CannotError


def test_the_longest_pause_is_between_two_that_follow_each_other() -> None:
    assert longest_pause([3.0, 1.0, 1.5, 9.0, 9.25]) == 6.0
    with pytest.raises(CannotError, match="Nothing was acknowledged"):
        longest_pause([1.0])


def test_each_way_has_its_median_its_longest_and_what_is_lost() -> None:
    def trial(kind: str, seconds: float, *lost: str) -> dict[str, Any]:
        return {"kind": kind, "without_writes": seconds, "acknowledged": 600, "lost": list(lost)}

    trials = [trial("alone", 21.04), trial("switchover", 2.5), trial("alone", 19.5, "Number 7"), trial("alone", 24.0)]
    assert figures(trials) == [
        ["a switchover", "2.5", "2.5", "600", "0"],
        ["its death, left alone", "21.0", "24.0", "1,800", "1"],
    ]


Answer = Callable[[httpx.Request], httpx.Response]


def test_a_commenter_is_somebody_of_the_shard_and_reads_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    slugs = iter(["elsewhere-1", "here-2"])
    pages = iter([[{"id": 9, "body": "Number 2"}, {"id": 8, "body": "Number 1"}], [{"id": 7, "body": "First"}], []])
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            asked.append(request.url.params["before"])
            return httpx.Response(200, json={"comments": next(pages)})
        if request.url.path == "/api/articles":
            return httpx.Response(201, json={"article": {"slug": next(slugs)}})
        return httpx.Response(201, json={"user": {"token": "t"}})

    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(answer)))
    commenter = Commenter("http://stage", lambda slug: slug.startswith("here"))
    assert commenter.there() == {"Number 1", "Number 2", "First"}
    assert asked == [str(2**53 - 1), "8", "7"]
