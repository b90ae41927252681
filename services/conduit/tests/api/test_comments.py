"""Comments on articles."""

import re

import pytest

from conduit_testing.client import Api, Person, errors, fresh, id_of

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_comment_is_returned_and_listed_as_it_was_written(api: Api, jo: Person, ann: Person) -> None:
    slug = jo.slug()
    assert api.get(f"/articles/{slug}/comments").json() == {"comments": []}
    ann.put("/user", {"user": {"bio": "of ann"}})
    comment = ann.comment(slug, "First!\n")
    assert set(comment) == {"id", "createdAt", "updatedAt", "body", "author"}
    assert comment["body"] == "First!\n"
    assert comment["author"] == {"username": ann.username, "bio": "of ann", "image": None, "following": False}
    assert TIME.fullmatch(comment["createdAt"])
    assert comment["updatedAt"] == comment["createdAt"]
    assert 0 < comment["id"] < 2**53
    assert api.get(f"/articles/{slug}/comments").json() == {"comments": [comment]}


def test_comments_are_newest_first_and_paged_by_the_cursor(api: Api, jo: Person, ann: Person) -> None:
    slug = jo.slug()
    written = [(jo, ann)[n % 2].comment(slug, f"Number {n}")["id"] for n in range(5)]

    def shown(**page: int) -> list[int]:
        return [comment["id"] for comment in api.get(f"/articles/{slug}/comments", **page).json()["comments"]]

    assert shown() == written[::-1]
    assert shown(limit=2) == [written[4], written[3]]
    assert shown(limit=2, before=written[3]) == [written[2], written[1]]
    assert shown(before=written[0]) == []


def test_a_comments_reader_sees_whom_they_follow(api: Api, jo: Person, ann: Person) -> None:
    slug, bob = jo.slug(), api.sign_up()
    ann.comment(slug)
    bob.comment(slug)
    jo.follow(ann)

    def following(reader: Api | Person) -> list[bool]:
        comments = reader.get(f"/articles/{slug}/comments").json()["comments"]
        return [comment["author"]["following"] for comment in comments]

    assert following(jo) == [False, True]
    assert following(api) == following(ann) == [False, False]


def test_a_commenter_may_delete_the_comment(api: Api, jo: Person, ann: Person) -> None:
    slug = jo.slug()
    first, second = ann.comment(slug), ann.comment(slug)
    response = ann.delete(f"/articles/{slug}/comments/{first['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert api.get(f"/articles/{slug}/comments").json()["comments"] == [second]
    again = ann.delete(f"/articles/{slug}/comments/{first['id']}")
    assert again.status_code == 404
    assert again.json() == {"errors": {"comment": ["not found"]}}


def test_deleting_another_users_comment_is_403_even_for_the_articles_author(api: Api, jo: Person, ann: Person) -> None:
    slug = jo.slug()
    comment = ann.comment(slug)
    response = jo.delete(f"/articles/{slug}/comments/{comment['id']}")
    assert response.status_code == 403
    assert response.json() == {"errors": {"comment": ["forbidden"]}}
    assert api.get(f"/articles/{slug}/comments").json()["comments"] == [comment]


def test_a_comment_is_not_found_under_another_article(jo: Person) -> None:
    slug, other = jo.slug(), jo.slug()
    comment = jo.comment(slug)
    response = jo.delete(f"/articles/{other}/comments/{comment['id']}")
    assert (response.status_code, response.json()) == (404, {"errors": {"comment": ["not found"]}})


@pytest.mark.parametrize("slug", ["nothing", "nothing-1"])
def test_comments_of_an_unknown_article_are_404(jo: Person, slug: str) -> None:
    for response in (
        jo.get(f"/articles/{slug}/comments"),
        jo.post(f"/articles/{slug}/comments", {"comment": {"body": "x"}}),
        jo.delete(f"/articles/{slug}/comments/1"),
    ):
        assert (response.status_code, response.json()) == (404, {"errors": {"article": ["not found"]}})


@pytest.mark.parametrize("body", [{"comment": {"body": " "}}, {"comment": {}}, {"comment": {"body": ""}}])
def test_a_blank_comment_is_refused(jo: Person, body: dict[str, object]) -> None:
    response = jo.post(f"/articles/{jo.slug()}/comments", body)
    assert (response.status_code, response.json()) == (422, {"errors": {"body": ["can't be blank"]}})


@pytest.mark.parametrize("comment_id", ["x", "-1", "1.5", str(2**53), "9" * 400])
def test_an_invalid_comment_id_is_refused(jo: Person, comment_id: str) -> None:
    response = jo.delete(f"/articles/{jo.slug()}/comments/{comment_id}")
    assert response.status_code == 422
    assert errors(response)


def test_a_comment_survives_a_rename_of_its_writer(api: Api, jo: Person, ann: Person) -> None:
    slug, name = jo.slug(), fresh()
    ann.comment(slug)
    ann.put("/user", {"user": {"username": name}})
    comments = api.get(f"/articles/a-title-that-never-was-{id_of(slug)}/comments").json()["comments"]
    assert [comment["author"]["username"] for comment in comments] == [name]
