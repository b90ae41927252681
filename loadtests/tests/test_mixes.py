"""The mixes ask for what their docstrings say."""

import random
from collections import Counter

import pytest

from loadtests import mixes
from loadtests.dataset import parse_databases
from loadtests.mixes import spike
from loadtests.popularity import Zipf
from loadtests.tests.made_up import made_up

DRAWS = 40_000


@pytest.mark.parametrize("articles", [100, 1_000, 20_000])
def test_a_fifth_of_the_articles_gets_four_fifths_of_the_reads(articles: int) -> None:
    zipf = Zipf(articles)
    rng = random.Random(1)
    drawn = Counter(zipf.draw(rng) for _ in range(DRAWS))
    top = sum(count for rank, count in drawn.items() if rank < articles * 0.2)
    assert top / DRAWS == pytest.approx(0.8, abs=0.02)
    assert zipf.share_of_top() == pytest.approx(0.8, abs=0.01)
    assert max(drawn) < articles


@pytest.mark.parametrize("articles", [1, 2, 4])
def test_a_handful_of_articles_is_no_trouble(articles: int) -> None:
    rng = random.Random(1)
    assert {Zipf(articles).draw(rng) for _ in range(200)} <= set(range(articles))


def test_browse_is_four_fifths_reads_most_of_them_anonymous() -> None:
    mix, data, rng = mixes.load("browse"), made_up(), random.Random(1)
    asked = [mix.draw(rng, data) for _ in range(DRAWS)]
    reads = [request for request in asked if request.method == "GET"]
    assert len(reads) / len(asked) == pytest.approx(0.8, abs=0.01)
    assert sum(request.token is None for request in reads) / len(reads) == pytest.approx(0.7, abs=0.01)
    assert all(request.token for request in asked if request.method != "GET" or request.route.endswith("feed"))
    assert len({request.route for request in asked}) == 12, "routes, not addresses"


@pytest.mark.parametrize("name", mixes.NAMES)
def test_every_mix_has_a_model_and_asks_properly(name: str) -> None:
    mix, data, rng = mixes.load(name), made_up(), random.Random(1)
    assert len(mix.model.split()) > 20
    for _ in range(500):
        request = mix.draw(rng, data)
        assert request.path.startswith("/api/")
        assert request.route.startswith(request.method)
        assert (request.method == "GET") <= (request.body is None)


def test_nobody_follows_themselves() -> None:
    mix, data, rng = mixes.load("publish"), made_up(), random.Random(1)
    tokens = {data.token(user): user.username for user in data.users}
    for _ in range(3000):
        request = mix.draw(rng, data)
        if request.route.endswith("/follow"):
            assert request.path.split("/")[3] != tokens[request.token or ""]


def test_a_spike_is_ten_times_for_twenty_seconds() -> None:
    factors = [spike.factor(second + 0.5) for second in range(90)]
    assert factors.count(10.0) == 20
    assert factors.count(1.0) == 70
    assert mixes.load("spike").steady is False


def test_an_unknown_mix_is_told_the_known_ones() -> None:
    with pytest.raises(mixes.UnknownMixError, match="browse, publish, feed, login, spike"):
        mixes.load("../secrets")


def test_databases_come_as_labels_give_them() -> None:
    assert parse_databases(["0-63=postgresql://a@b/c?x=y", "postgresql://d"]) == [
        "postgresql://a@b/c?x=y",
        "postgresql://d",
    ]
