"""The mixes ask for what their docstrings say."""

import json
import random
from collections import Counter

import pytest

from loadtests.load import mixes, site_assets
from loadtests.load.dataset import parse_databases
from loadtests.load.mixes import Draw, spike
from loadtests.load.popularity import Zipf
from loadtests.tests.made_up import PAGES, made_up

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


def begun(name: str, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """A mix's traffic over made-up rows, from a stage with made-up pages."""
    monkeypatch.setattr(site_assets, "read", lambda _target, paths: {page: PAGES[page] for page in paths})
    return mixes.load(name).begin(random.Random(1), made_up(), "http://stage")


@pytest.mark.parametrize(("name", "share"), [("browse", 0.8), ("read-mostly", 0.95)])
def test_so_many_are_reads_and_most_of_them_anonymous(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = begun(name, monkeypatch)
    asked = [draw() for _ in range(DRAWS)]
    reads = [request for request in asked if request.method == "GET"]
    assert len(reads) / len(asked) == pytest.approx(share, abs=0.01)
    assert sum(request.token is None for request in reads) / len(reads) == pytest.approx(0.7, abs=0.01)
    assert all(request.token for request in asked if request.method != "GET" or request.route.endswith("feed"))
    assert len({request.route for request in asked}) == 12, "routes, not addresses"


@pytest.mark.slow
@pytest.mark.parametrize("name", mixes.NAMES)
def test_every_mix_has_a_model_and_asks_properly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mix, draw = mixes.load(name), begun(name, monkeypatch)
    assert len(mix.model.split()) > 20
    asked = [draw() for _ in range(1000)]
    assert {request.part for request in asked} <= set(mix.parts)
    for request in asked:
        assert request.path.startswith("/api/") == (request.part in ("api", "covered", "report"))
        assert request.route.startswith(request.method)
        assert (request.method == "GET") <= (request.body is None)


@pytest.mark.slow
def test_nobody_follows_themselves() -> None:
    data = made_up()
    draw = mixes.load("publish").begin(random.Random(1), data, "")
    tokens = {data.token(user): user.username for user in data.users}
    for _ in range(3000):
        request = draw()
        if request.route.endswith("/follow"):
            assert request.path.split("/")[3] != tokens[request.token or ""]


@pytest.mark.slow
def test_a_tenth_of_the_publishings_is_followed_by_another_photograph_each_time() -> None:
    mix, data = mixes.load("publish"), made_up()
    draw = mix.begin(random.Random(1), data, "")
    asked = [draw() for _ in range(DRAWS)]
    published = [request for request in asked if request.route == "POST /api/articles"]
    covered = [request for request in published if request.then is not None]
    assert len(published) / DRAWS == pytest.approx(0.2, abs=0.01)
    assert len(covered) / len(published) == pytest.approx(0.1, abs=0.01)
    assert {request.journey for request in covered} == {"publishing with a cover"}
    assert (DRAWS + len(covered)) / DRAWS == pytest.approx(mix.requests_an_arrival, abs=0.003)
    answer = json.dumps({"article": {"slug": "été-7"}}).encode()
    uploads = [request.then(answer) for request in covered[:40] if request.then]
    for first, upload in zip(covered, uploads, strict=False):
        assert upload is not None
        assert (upload.method, upload.path) == ("PUT", "/api/articles/%C3%A9t%C3%A9-7/cover")
        assert (upload.token, upload.content_type, upload.part) == (first.token, "image/jpeg", "cover")
        assert upload.body is not None
        assert upload.body.startswith(b"\xff\xd8")
    assert len({upload.body for upload in uploads if upload}) == len(uploads)
    assert sum(request.part == "report" for request in asked) / DRAWS == pytest.approx(0.01, abs=0.003)


def test_a_spike_is_ten_times_for_twenty_seconds() -> None:
    factors = [spike.factor(second + 0.5) for second in range(90)]
    assert factors.count(10.0) == 20
    assert factors.count(1.0) == 70
    assert mixes.load("spike").steady is False


def test_an_unknown_mix_is_told_the_known_ones() -> None:
    with pytest.raises(mixes.UnknownMixError, match="browse, read-mostly, pages, publish, feed, login, spike"):
        mixes.load("../secrets")


def test_databases_come_as_labels_give_them() -> None:
    shard = "postgresql://a@b,c/d?x=y"
    assert parse_databases(["directory=postgresql://d/c", f"shard1={shard}"]) == [shard]
    assert parse_databases(["0-63=postgresql://a@b/c?x=y", "postgresql://d"]) == [
        "postgresql://a@b/c?x=y",
        "postgresql://d",
    ]
