"""Publishing, reading, changing, deleting and favouriting articles."""

import re
from typing import Any

import pytest

from conduit_testing.client import Api, Person, errors, fresh, id_of
from conduit_testing.pictures import upload

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SUMMARY_FIELDS = {
    "slug", "title", "description", "tagList", "createdAt", "updatedAt", "favorited", "favoritesCount", "author",
    "cover",
}  # fmt: skip


def test_publishing_answers_201_with_the_article(api: Api, jo: Person) -> None:
    response = jo.post(
        "/articles",
        {
            "article": {
                "title": " A title ",
                "description": "about",
                "body": "# text\n",
                "tagList": ["b", "a", "b", " "],
            }
        },
    )
    assert response.status_code == 201
    article = response.json()["article"]
    assert set(article) == SUMMARY_FIELDS | {"body"}
    assert article["slug"].startswith("a-title-")
    assert (article["title"], article["description"], article["body"]) == ("A title", "about", "# text\n")
    assert article["tagList"] == ["a", "b"]
    assert (article["favorited"], article["favoritesCount"], article["cover"]) == (False, 0, None)
    assert article["author"] == {"username": jo.username, "bio": None, "image": None, "following": False}
    assert TIME.fullmatch(article["createdAt"])
    assert article["updatedAt"] == article["createdAt"]
    assert api.article(article["slug"]) == jo.article(article["slug"]) == article


def test_ids_are_exact_in_a_javascript_number(jo: Person) -> None:
    assert 0 < id_of(jo.slug()) < 2**53


def test_two_articles_may_have_the_same_title(api: Api, jo: Person) -> None:
    first, second = jo.slug(body="one"), jo.slug(body="two")
    assert first != second
    assert [api.article(slug)["body"] for slug in (first, second)] == ["one", "two"]


def test_a_change_keeps_what_it_leaves_out_and_moves_updated_at(api: Api, jo: Person) -> None:
    before = jo.publish(tagList=["t"])
    response = jo.put(f"/articles/{before['slug']}", {"article": {"body": "new body"}})
    assert response.status_code == 200
    after = response.json()["article"]
    assert after["updatedAt"] > before["updatedAt"]
    assert after | {"updatedAt": before["updatedAt"]} == before | {"body": "new body"}
    again = {name: after[name] for name in ("title", "description", "body", "tagList")}
    assert jo.put(f"/articles/{after['slug']}", {"article": again}).json()["article"] == after
    assert api.article(before["slug"]) == after


@pytest.mark.parametrize(
    ("field", "value"), [("title", "Another"), ("description", "another"), ("body", "another"), ("tagList", ["b"])]
)
def test_each_field_is_changed_alone(api: Api, jo: Person, field: str, value: object) -> None:
    before = jo.publish(tagList=["a"])
    after = jo.put(f"/articles/{before['slug']}", {"article": {field: value}}).json()["article"]
    assert after[field] == value
    others = ("title", "description", "body", "tagList", "createdAt", "author", "favorited", "favoritesCount", "cover")
    assert [name for name in others if name != field and after[name] != before[name]] == []
    assert api.article(before["slug"]) == after


def test_the_answer_to_a_change_shows_the_authors_own_favourite_and_the_cover(jo: Person, ann: Person) -> None:
    slug = jo.slug()
    cover = jo.cover(slug, upload())
    jo.favorite(slug)
    changed = jo.put(f"/articles/{slug}", {"article": {"body": "another"}}).json()["article"]
    assert (changed["favorited"], changed["favoritesCount"], changed["cover"]) == (True, 1, cover)
    for response in (ann.post(f"/articles/{slug}/favorite"), ann.delete(f"/articles/{slug}/favorite")):
        assert response.json()["article"]["cover"] == cover


def test_a_new_title_gives_a_new_slug_and_the_old_one_still_finds_it(api: Api, jo: Person) -> None:
    old = jo.slug("First title")
    article = jo.put(f"/articles/{old}", {"article": {"title": "Second title"}}).json()["article"]
    assert article["slug"] == f"second-title-{id_of(old)}"
    assert api.article(old) == api.article(article["slug"]) == article
    assert jo.put(f"/articles/{old}", {"article": {"body": "by the old slug"}}).status_code == 200
    assert jo.delete(f"/articles/{old}").status_code == 204


def test_a_deleted_article_is_gone_with_its_comments(api: Api, jo: Person, ann: Person) -> None:
    slug = jo.slug()
    comment = ann.comment(slug)
    ann.favorite(slug)
    response = jo.delete(f"/articles/{slug}")
    assert (response.status_code, response.content) == (204, b"")
    missing = {"errors": {"article": ["not found"]}}
    for answer in (
        api.get(f"/articles/{slug}"),
        api.get(f"/articles/{slug}/comments"),
        jo.delete(f"/articles/{slug}"),
        jo.put(f"/articles/{slug}", {"article": {"body": "x"}}),
        ann.post(f"/articles/{slug}/favorite"),
        ann.delete(f"/articles/{slug}/favorite"),
        ann.post(f"/articles/{slug}/comments", {"comment": {"body": "x"}}),
        ann.delete(f"/articles/{slug}/comments/{comment['id']}"),
    ):
        assert answer.status_code == 404
        assert answer.json() == missing


@pytest.mark.parametrize(
    "slug", ["no-such-thing-1", "nothing", "9007199254740991", "x-99999999999999999999", "0", "-1"]
)
def test_an_unknown_slug_is_404(api: Api, slug: str) -> None:
    response = api.get(f"/articles/{slug}")
    assert response.status_code == 404
    assert response.json() == {"errors": {"article": ["not found"]}}


def test_changing_or_deleting_another_users_article_is_403(api: Api, jo: Person, ann: Person) -> None:
    before = jo.publish()
    path = f"/articles/{before['slug']}"
    for response in (ann.put(path, {"article": {"body": "mine"}}), ann.delete(path)):
        assert response.status_code == 403
        assert response.json() == {"errors": {"article": ["forbidden"]}}
    assert api.article(before["slug"]) == before


@pytest.mark.parametrize("field", ["title", "description", "body"])
def test_a_blank_field_is_named(jo: Person, field: str) -> None:
    article = {"title": "t", "description": "d", "body": "b"}
    expected = {"errors": {field: ["can't be blank"]}}
    for blank in ({**article, field: " "}, {key: value for key, value in article.items() if key != field}):
        response = jo.post("/articles", {"article": blank})
        assert (response.status_code, response.json()) == (422, expected)
    slug = jo.slug()
    response = jo.put(f"/articles/{slug}", {"article": {field: ""}})
    assert (response.status_code, response.json()) == (422, expected)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "x" * 301}, "title"),
        ({"description": "x" * 1_001}, "description"),
        ({"body": "x" * 200_001}, "body"),
        ({"tagList": [f"t{n}" for n in range(21)]}, "tagList"),
        ({"tagList": ["x" * 51]}, "tagList"),
        ({"tagList": ["a\x07b"]}, "tagList"),
        ({"tagList": [1]}, "tagList"),
        ({"tagList": "tag"}, "tagList"),
        ({"title": 7}, "title"),
        ({"body": None}, "body"),
    ],
)
def test_an_invalid_field_is_named(jo: Person, changes: dict[str, Any], field: str) -> None:
    draft = {"title": "t", "description": "d", "body": "b"}
    slug = jo.slug()
    for response in (
        jo.post("/articles", {"article": draft | changes}),
        jo.put(f"/articles/{slug}", {"article": changes}),
    ):
        assert response.status_code == 422
        assert list(errors(response)) == [field]


def test_a_favourite_counts_once_and_shows_to_its_user(api: Api, jo: Person, ann: Person) -> None:
    article = jo.publish()
    path = f"/articles/{article['slug']}/favorite"
    for _ in range(2):
        response = ann.post(path)
        assert response.status_code == 200
        assert response.json()["article"] == article | {"favorited": True, "favoritesCount": 1}
    assert api.article(article["slug"])["favorited"] is False
    assert ann.article(article["slug"])["favorited"] is True
    assert jo.post(path).json()["article"]["favoritesCount"] == 2
    for _ in range(2):
        marked = ann.delete(path).json()["article"]
        assert (marked["favorited"], marked["favoritesCount"]) == (False, 1)
    assert api.article(article["slug"])["favoritesCount"] == 1


def test_an_article_shows_whether_its_reader_follows_the_author(jo: Person, ann: Person) -> None:
    slug = jo.slug()
    ann.follow(jo)
    assert ann.article(slug)["author"]["following"] is True
    assert ann.post(f"/articles/{slug}/favorite").json()["article"]["author"]["following"] is True
    assert jo.article(slug)["author"]["following"] is False


def test_tags_in_use_are_listed_sorted_until_the_last_use_ends(api: Api, jo: Person) -> None:
    one, two, three = (fresh("tag") for _ in range(3))
    first = jo.slug(tagList=[one, two])
    second = jo.slug(tagList=[two])

    def tags() -> list[str]:
        listed: list[str] = api.get("/tags").json()["tags"]
        assert listed == sorted(listed)
        return [tag for tag in listed if tag in {one, two, three}]

    assert tags() == sorted([one, two])
    jo.delete(f"/articles/{first}")
    assert tags() == [two]
    jo.put(f"/articles/{second}", {"article": {"tagList": [three]}})
    assert tags() == [three]
    jo.put(f"/articles/{second}", {"article": {"tagList": []}})
    assert tags() == []
