"""One of two shards is down or hangs: what lives on the other one goes on, and lists say that they are partial."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import httpx
import pytest

from conduit.placement import place
from conduit_testing.client import Api, Person, errors, fresh
from conduit_testing.deployments import NewDatabase, NewRedis, migrated, served, settings_for
from conduit_testing.proxy import Proxy, proxied
from conduit_testing.waiting import until

every_break = pytest.mark.parametrize("broken", [Proxy.cut, Proxy.hold], ids=["refused", "hanging"])
Break = Callable[[Proxy], None]
# The first request after a shard began to hang waits for it, as with any database.
BACK_WITHIN_SECONDS = 10.0


class Site(NamedTuple):
    """``author`` and ``slug`` are on the shard that stays, ``lost_author`` and ``lost_slug`` on the one that goes."""

    api: Api
    stays: Proxy
    goes: Proxy
    author: Person
    slug: str
    lost_author: Person
    lost_slug: str


@pytest.fixture(scope="module", params=["from the databases", "from the cache"])
def site(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory, one, two = (migrated(new_database) for _ in range(3))
    place(directory, ["one", "two"])
    cached = request.param == "from the cache"
    new_redis: NewRedis | None = request.getfixturevalue("new_redis") if cached else None
    with proxied(one) as stays, proxied(two) as goes:
        settings = settings_for(
            directory,
            shards=f"one={stays.url} two={goes.url}",
            media_dir=tmp_path_factory.mktemp("media"),
            cache_url=new_redis() if new_redis else None,
        )
        with served(settings) as base_url, httpx.Client(base_url=base_url, timeout=10) as http:
            api = Api(http)
            stay, go = api.author_on(range(32), tagList=["on0"]), api.author_on(range(32, 64), tagList=["on32"])
            yield Site(api, stays, goes, *stay, *go)


@pytest.fixture
def broken_site(site: Site, broken: Break) -> Iterator[Site]:
    broken(site.goes)
    yield site
    site.goes.mend()
    until(lambda: _is_whole(site), "it is not back", within=BACK_WITHIN_SECONDS)


def _is_whole(site: Site) -> bool:
    # Asked for in ways that no cache keeps.
    answers = [site.api.get("/articles", before=2**53 - 1), site.api.get("/articles", limit=100, offset=1)]
    return all(answer.status_code == 200 and "x-partial" not in answer.headers for answer in answers)


def _slugs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [article["slug"] for article in answer.json()["articles"]]


@every_break
def test_lists_have_what_is_there_and_say_that_they_are_partial(broken_site: Site) -> None:
    site = broken_site
    for page in ({"before": 2**53 - 1}, {"limit": 100, "offset": 0, "tag": "on0"}):
        answer = site.api.get("/articles", **page)
        slugs = _slugs(answer)
        assert site.slug in slugs
        assert site.lost_slug not in slugs
        assert answer.headers.get_list("x-partial") == ["two"]


@every_break
def test_what_lives_elsewhere_goes_on(broken_site: Site) -> None:
    site = broken_site
    assert site.api.get(f"/articles/{site.slug}").json()["article"]["slug"] == site.slug
    assert site.author.post(f"/articles/{site.slug}/comments", {"comment": {"body": "Still here."}}).status_code == 201
    assert site.author.slug()
    assert site.api.get(f"/profiles/{site.author.username}").status_code == 200
    assert site.api.http.get("/ready").status_code == 200


@every_break
def test_what_lives_there_is_unavailable(broken_site: Site) -> None:
    site = broken_site
    draft = {"title": "Lost", "description": "d", "body": "b", "tagList": []}
    for answer in (
        site.lost_author.post("/articles", {"article": draft}),
        site.author.post(f"/articles/{site.lost_slug}/comments", {"comment": {"body": "Hello?"}}),
        site.author.post(f"/articles/{site.lost_slug}/favorite"),
    ):
        assert answer.status_code == 503, answer.text
        assert errors(answer)
        assert int(answer.headers["retry-after"]) > 0


@every_break
def test_a_reader_from_there_reads_on_without_marks(broken_site: Site) -> None:
    site = broken_site
    answer = site.lost_author.get(f"/articles/{site.slug}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["article"]["author"]["following"] is False
    assert answer.headers.get_list("x-partial") == ["two"]
    assert site.slug in _slugs(site.lost_author.get("/articles"))


def test_a_list_that_is_kept_without_a_summary_from_there_is_partial(site: Site) -> None:
    """Nothing but what is on the lost shard has to be asked for."""
    tag = fresh("tag")
    kept, lost = (person.slug(tagList=[tag]) for person in (site.author, site.lost_author))
    assert set(_slugs(site.api.get("/articles", tag=tag))) == {kept, lost}
    assert site.lost_author.put(f"/articles/{lost}", {"article": {"body": "Another."}}).status_code == 200
    site.goes.cut()
    answer = site.api.get("/articles", tag=tag)
    assert _slugs(answer) == [kept]
    assert answer.headers.get_list("x-partial") == ["two"]
    site.goes.mend()
    until(lambda: _is_whole(site), "it is not back", within=BACK_WITHIN_SECONDS)


def test_comments_and_a_feed_of_people_from_there_only_are_partial_and_no_error(site: Site) -> None:
    slug = site.author.slug()
    site.lost_author.comment(slug)
    reader = site.api.author_on(range(32))[0]
    reader.follow(site.lost_author)
    site.goes.cut()
    for path, found in ((f"/articles/{slug}/comments", "comments"), ("/articles/feed", "articles")):
        answer = reader.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()[found] == []
        assert answer.headers.get_list("x-partial") == ["two"]
    site.goes.mend()
    until(lambda: _is_whole(site), "it is not back", within=BACK_WITHIN_SECONDS)


def test_nothing_partial_is_kept(site: Site) -> None:
    """What was asked for while a shard was away is whole as soon as it is back."""
    tag = fresh("tag")
    slugs = {person.slug(tagList=[tag]) for person in (site.author, site.lost_author)}
    site.goes.cut()
    assert site.api.get("/articles", tag=tag).headers.get_list("x-partial") == ["two"]
    partial_tags = site.api.get("/tags")
    assert partial_tags.headers.get_list("x-partial") == ["two"]
    site.goes.mend()
    until(lambda: _is_whole(site), "it is not back", within=BACK_WITHIN_SECONDS)
    assert set(_slugs(site.api.get("/articles", tag=tag))) == slugs
    assert {"on0", "on32", tag} <= set(site.api.get("/tags").json()["tags"])


def test_with_no_shard_at_all_it_is_not_ready(site: Site) -> None:
    for proxy in (site.stays, site.goes):
        proxy.cut()
    assert site.api.http.get("/ready").status_code == 503
    answer = site.api.get("/articles", before=2**53 - 1)
    assert answer.status_code == 503
    assert "x-partial" not in answer.headers
    for proxy in (site.stays, site.goes):
        proxy.mend()
    until(lambda: _is_whole(site), "it is not back", within=BACK_WITHIN_SECONDS)
