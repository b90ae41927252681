"""What is read before a search, so that its stage's cache is that of a site that has run for a day."""

import random
from typing import Any

import gevent
import pytest

from loadtests.load import warming
from loadtests.load.dataset import Article, Dataset, User
from loadtests.load.mixes import actions, browse, read_mostly
from loadtests.load.mixes.actions import Request
from loadtests.load.samples import Sample
from loadtests.tests.made_up import made_up

DRAWS = 20_000
# The feed, which nothing caches.
UNCACHED = "GET /api/articles/feed"


def test_lists_come_first_then_what_is_popular() -> None:
    paths = [request.path for request in warming.requests(made_up())]
    assert paths[:2] == ["/api/tags", "/api/articles?limit=20&offset=0"]
    assert paths[5:8] == ["/api/articles?limit=20&offset=80", *(
        f"/api/articles?limit=20&offset=0&tag={tag}" for tag in ("one", "two")
    )]
    assert paths[9] == "/api/articles/article-0"
    for kind in ("/api/articles/article-{}", "/api/articles/article-{}/comments"):
        assert [path for path in paths if path in {kind.format(n) for n in range(100)}] == [
            kind.format(n) for n in range(100)
        ]
    assert len(set(paths)) == len(paths) == 1 + 5 + 3 + 2 * 100 + 10


@pytest.mark.parametrize("draw", [browse.draw, read_mostly.draw])
def test_what_is_warmed_is_what_is_looked_up(draw: Any) -> None:
    """By the same users, from the same paths."""
    data, rng = made_up(), random.Random(1)
    drawn = [draw(rng, data) for _ in range(DRAWS)]
    looked_up = [request for request in drawn if request.method == "GET" and request.route != UNCACHED]
    warmed = list(warming.requests(data))
    assert {request.path for request in looked_up} <= {request.path for request in warmed}
    assert {request.token for request in looked_up} == {request.token for request in warmed}
    marked = [request for request in warmed if request.token]
    assert {request.route for request in marked} == {"GET /api/articles/{slug}"}, "every article has an author"
    assert len(marked) == len(data.users), "each once"


def test_readers_who_are_not_among_the_users_are_warmed_too() -> None:
    data = made_up()
    data.heavy.append(User(9999, "heavy", "heavy@example.com"))
    assert data.token(data.heavy[-1]) in {request.token for request in warming.requests(data)}


def test_what_a_read_is_worth_is_how_many_look_ups_find_it() -> None:
    """Held against what the mix draws. A read of an article by somebody is worth their marks, too."""
    data, rng = made_up(), random.Random(1)
    drawn = [browse.draw(rng, data) for _ in range(DRAWS)]
    looked_up = [request for request in drawn if request.method == "GET" and request.route != UNCACHED]
    signed_in = [request.token for request in looked_up if request.token]
    look_ups = len(looked_up) + len(signed_in)
    for read in list(warming.by_worth(data))[:30]:
        path, token = read.request.path, read.request.token
        found = sum(request.path == path for request in looked_up) + signed_in.count(token or '')
        assert read.worth == pytest.approx(found / look_ups, rel=0.15, abs=0.001), path


@pytest.mark.slow
def test_nearly_all_of_a_small_dataset_is_read_and_of_a_larger_one_what_is_worth_it() -> None:
    for articles, reads, hits in ((10_000, 19_362, 0.997), (100_000, 29_722, 0.883)):
        read = [one.worth for one in warming.by_worth(_dataset(articles)) if one.worth >= warming.WORTH]
        assert len(read) == pytest.approx(reads, abs=10)
        lists = (browse.READS[actions.home] + browse.READS[actions.by_tag]) / warming._LOOK_UPS
        assert lists + sum(read) == pytest.approx(hits, abs=0.0006)


def _dataset(articles: int) -> Dataset:
    users = [User(n, f"user{n}", "") for n in range(articles // 10)]
    return Dataset([Article(f"article-{n}", "") for n in range(articles)], users, users[:1], [], {}, secret=32 * "x")


class _App:
    """In the place of a sender: answers, or fails."""

    def __init__(self, error: str = "") -> None:
        self._error = error
        self.sent: list[str] = []

    def send(self, request: Request, intended: float) -> tuple[Sample, None]:
        gevent.sleep(0)
        self.sent.append(request.path)
        return Sample(request.route, intended, intended, self._error), None


def test_apps_share_the_reads_and_what_fails_is_counted() -> None:
    first: Any = _App()
    second: Any = _App(error="status 503")
    warmed = warming.warm([first, second], made_up(), 60)
    assert sorted(first.sent + second.sent) == sorted(request.path for request in warming.requests(made_up()))
    assert 90 < len(second.sent) < 129
    assert (warmed["sent"], warmed["failed"], warmed["whole"]) == (219, len(second.sent), True)
