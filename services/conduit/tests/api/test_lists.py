"""Lists of articles: filters, order, paging and exact counts."""

from collections.abc import Callable
from typing import Any

import pytest

from conduit_testing.client import Api, Person, errors, fresh, id_of

Listing = Callable[..., tuple[list[str], int]]


def test_a_list_shows_summaries_newest_first(api: Api, jo: Person) -> None:
    written = [jo.slug(f"Number {n}") for n in range(3)]
    response = api.get("/articles", author=jo.username)
    body = response.json()
    assert set(body) == {"articles", "articlesCount"}
    assert [article["slug"] for article in body["articles"]] == written[::-1]
    assert body["articlesCount"] == 3
    full = api.article(written[0])
    del full["body"]
    assert body["articles"][-1] == full


def test_the_newest_article_is_first_in_the_list_of_all(api: Api, jo: Person, ann: Person) -> None:
    written = [jo.slug(), ann.slug(), jo.slug()]
    slugs, _ = api.articles(limit=3)
    assert slugs == written[::-1]


def test_lists_are_filtered_by_tag_author_favourite_and_their_combinations(api: Api, jo: Person, ann: Person) -> None:
    tag = fresh("tag")
    both, tagged, plain = jo.slug(tagList=[tag, "x"]), ann.slug(tagList=[tag]), jo.slug()
    for slug in (both, plain):
        ann.favorite(slug)
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"tag": tag}, [tagged, both]),
        ({"author": jo.username}, [plain, both]),
        ({"favorited": ann.username}, [plain, both]),
        ({"tag": tag, "author": jo.username}, [both]),
        ({"tag": tag, "author": ann.username}, [tagged]),
        ({"tag": tag, "favorited": ann.username}, [both]),
        ({"author": jo.username, "favorited": ann.username}, [plain, both]),
        ({"tag": tag, "author": jo.username, "favorited": ann.username}, [both]),
        ({"tag": tag, "author": ann.username, "favorited": ann.username}, []),
        ({"favorited": jo.username}, []),
    ]
    for filters, slugs in expected:
        for reader in (api, jo, ann):
            assert reader.articles(**filters) == (slugs, len(slugs)), filters
            assert reader.articles(**filters, limit=1) == (slugs[:1], len(slugs)), filters
            assert reader.articles(**filters, offset=1) == (slugs[1:], len(slugs)), filters


@pytest.mark.parametrize("name", ["tag", "author", "favorited"])
def test_a_filter_without_matches_gives_an_empty_list(api: Api, jo: Person, name: str) -> None:
    assert api.articles(**{name: fresh("none")}) == ([], 0)
    assert jo.articles(**{name: fresh("none")}) == ([], 0)


def test_a_list_shows_the_reader_their_favourites_and_follows(api: Api, jo: Person, ann: Person) -> None:
    marked, other = jo.slug(), jo.slug()
    ann.favorite(marked)
    ann.follow(jo)

    def shown(reader: Api | Person) -> list[tuple[str, bool, bool]]:
        listed: list[dict[str, Any]] = reader.get("/articles", author=jo.username).json()["articles"]
        return [(one["slug"], one["favorited"], one["author"]["following"]) for one in listed]

    assert shown(ann) == [(other, False, True), (marked, True, True)]
    assert shown(jo) == shown(api) == [(other, False, False), (marked, False, False)]


def test_counts_are_exact_after_every_kind_of_change(api: Api, jo: Person, ann: Person) -> None:
    tag, other = fresh("tag"), fresh("tag")

    def counts() -> tuple[int, ...]:
        lists: list[dict[str, str]] = [{}, {"tag": tag}, {"tag": other}, {"author": jo.username}]
        return tuple(api.articles(limit=1, **filters)[1] for filters in [*lists, {"favorited": ann.username}])

    total = counts()[0]
    first = jo.slug(tagList=[tag])
    assert counts() == (total + 1, 1, 0, 1, 0)
    second = jo.slug(tagList=[tag, other])
    assert counts() == (total + 2, 2, 1, 2, 0)
    ann.favorite(first)
    ann.favorite(first)
    ann.favorite(second)
    assert counts() == (total + 2, 2, 1, 2, 2)
    jo.put(f"/articles/{first}", {"article": {"tagList": [other]}})
    assert counts() == (total + 2, 1, 2, 2, 2)
    jo.put(f"/articles/{first}", {"article": {"tagList": [other]}})
    assert counts() == (total + 2, 1, 2, 2, 2)
    ann.delete(f"/articles/{second}/favorite")
    ann.delete(f"/articles/{second}/favorite")
    assert counts() == (total + 2, 1, 2, 2, 1)
    jo.delete(f"/articles/{first}")
    assert counts() == (total + 1, 1, 1, 1, 0)
    jo.delete(f"/articles/{second}")
    assert counts() == (total, 0, 0, 0, 0)


def _pages(listing: Listing, filters: dict[str, str], limit: int) -> list[str]:
    """All articles of a list, page by page with offsets."""
    seen: list[str] = []
    while page := listing(limit=limit, offset=len(seen), **filters)[0]:
        seen += page
    return seen


def _cursored(listing: Listing, filters: dict[str, str], limit: int) -> list[str]:
    """All articles of a list, page by page with the cursor."""
    seen: list[str] = []
    while page := listing(limit=limit, **filters, **({"before": id_of(seen[-1])} if seen else {}))[0]:
        seen += page
    return seen


def test_pages_by_offset_and_by_cursor_show_everything_once(api: Api, jo: Person, ann: Person) -> None:
    tag = fresh("tag")
    written = [(jo, ann)[n % 2].slug(tagList=[tag]) for n in range(7)]
    for slug in written:
        ann.favorite(slug)
    for filters in ({"tag": tag}, {"favorited": ann.username}):
        for reader in (api, jo):
            for limit in (1, 3, 7, 100):
                assert _pages(reader.articles, filters, limit) == written[::-1]
                assert _cursored(reader.articles, filters, limit) == written[::-1]
    assert api.articles(tag=tag, before=id_of(written[3])) == (written[2::-1], 7)
    assert api.articles(tag=tag, before=id_of(written[3]), offset=1, limit=1) == ([written[1]], 7)


def test_a_page_has_twenty_articles_by_default(api: Api, jo: Person) -> None:
    tag = fresh("tag")
    for _ in range(22):
        jo.slug(tagList=[tag])
    assert len(api.articles(tag=tag)[0]) == 20
    assert len(api.articles(tag=tag, limit=100)[0]) == 22
    assert api.articles(tag=tag)[1] == 22


def test_an_offset_past_the_end_gives_no_articles_and_the_count(api: Api, jo: Person) -> None:
    jo.slug()
    assert api.articles(author=jo.username, offset=10_000) == ([], 1)
    assert api.articles(author=jo.username, before=0) == ([], 1)
    assert api.articles(offset=10_000)[1] >= 1
    assert jo.feed(offset=10_000) == ([], 0)


@pytest.mark.parametrize("path", ["/articles", "/articles/feed"])
def test_an_offset_beyond_10000_is_422_and_names_the_cursor(jo: Person, path: str) -> None:
    for offset in (10_001, 2**53 - 1):
        response = jo.get(path, offset=offset)
        assert response.status_code == 422
        assert "before=" in errors(response)["offset"][0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", -1), ("limit", 0), ("limit", 101), ("limit", 10**9), ("limit", "many"), ("limit", "1.5"),
        ("limit", 10**400), ("offset", -1), ("offset", 10**30), ("offset", "x"), ("before", -1), ("before", 2**53),
        ("before", "yesterday"), ("tag", "x" * 201), ("author", "x" * 201),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_named(api: Api, name: str, value: object) -> None:
    response = api.get("/articles", **{name: value})
    assert response.status_code == 422
    assert list(errors(response)) == [name]


# The feed ---------------------------------------------------------------------------------------------------


def test_a_feed_shows_articles_by_followed_authors_newest_first(api: Api, jo: Person, ann: Person) -> None:
    bob = api.sign_up()
    first, _unfollowed, second, third = ann.slug(), jo.slug(), bob.slug(), ann.slug()
    assert jo.feed() == ([], 0)
    jo.follow(ann)
    assert jo.feed() == ([third, first], 2)
    jo.follow(bob)
    assert jo.feed() == ([third, second, first], 3)
    assert bob.feed() == ([], 0)
    bob.delete(f"/articles/{second}")
    assert jo.feed() == ([third, first], 2)
    jo.delete(f"/profiles/{ann.username}/follow")
    assert jo.feed() == ([], 0)


def test_a_feed_shows_the_authors_as_followed_and_the_favourites(jo: Person, ann: Person) -> None:
    slug = ann.slug()
    jo.follow(ann)
    jo.favorite(slug)
    listed = jo.get("/articles/feed").json()["articles"]
    full = jo.article(slug)
    del full["body"]
    assert listed == [full]
    assert (full["favorited"], full["favoritesCount"], full["author"]["following"]) == (True, 1, True)


def test_a_feed_pages_exactly_over_many_authors(api: Api, jo: Person) -> None:
    authors = [api.sign_up() for _ in range(6)]
    written = [authors[number].slug(f"By {number}") for number in (0, 1, 2, 0, 3, 3, 3, 4, 5, 0, 1)]
    for author in authors:
        jo.follow(author)
    for limit in (1, 2, 5, 20):
        assert _pages(jo.feed, {}, limit) == written[::-1]
        assert _cursored(jo.feed, {}, limit) == written[::-1]
    assert jo.feed(limit=2, offset=3) == (written[::-1][3:5], 11)


def test_a_feed_keeps_its_order_when_authors_delete_their_newest(api: Api, jo: Person) -> None:
    authors = [api.sign_up() for _ in range(3)]
    kept = [author.slug() for author in authors]
    doomed = [author.slug() for author in authors]
    for author, slug in zip(authors, doomed, strict=True):
        jo.follow(author)
        author.delete(f"/articles/{slug}")
    assert jo.feed(limit=1) == (kept[2:], 3)
    assert _pages(jo.feed, {}, 1) == kept[::-1]


def test_a_feed_needs_a_token(api: Api) -> None:
    response = api.get("/articles/feed")
    assert response.status_code == 401
    assert response.json() == {"errors": {"token": ["is missing"]}}
