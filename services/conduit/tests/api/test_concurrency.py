"""Concurrent requests: one gets a name, counters are exact, and what is deleted meanwhile is not found."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx

from conduit_testing.client import PASSWORD, Api, Person, fresh

Call = Callable[[], httpx.Response]


def at_once(calls: list[Call]) -> list[httpx.Response]:
    """Start all calls together. Returns their responses in order, after a check that none is a 5xx."""
    ready = Barrier(len(calls))

    def run(call: Call) -> httpx.Response:
        ready.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        answers = list(threads.map(run, calls))
    assert [answer.text for answer in answers if answer.status_code >= 500] == []
    return answers


def statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def test_of_eight_concurrent_sign_ups_with_one_name_one_succeeds(api: Api) -> None:
    name = fresh()
    users = [{"username": name, "email": f"{fresh()}@example.com", "password": PASSWORD} for _ in range(8)]
    answers = at_once([lambda user=user: api.post("/users", {"user": user}) for user in users])  # type: ignore[misc]
    assert statuses(answers) == [201] + [409] * 7
    for user, answer in zip(users, answers, strict=True):
        if answer.status_code == 409:
            assert answer.json() == {"errors": {"username": ["has already been taken"]}}
        assert api.log_in(user["email"]).status_code == (200 if answer.status_code == 201 else 401)


def test_of_eight_concurrent_sign_ups_with_one_address_one_succeeds(api: Api) -> None:
    email = f"{fresh()}@example.com"
    users = [{"username": fresh(), "email": email, "password": PASSWORD} for _ in range(8)]
    answers = at_once([lambda user=user: api.post("/users", {"user": user}) for user in users])  # type: ignore[misc]
    assert statuses(answers) == [201] + [409] * 7
    for user, answer in zip(users, answers, strict=True):
        assert api.get(f"/profiles/{user['username']}").status_code == (200 if answer.status_code == 201 else 404)


def test_of_concurrent_renames_to_one_name_one_succeeds(api: Api) -> None:
    people, name = [api.sign_up() for _ in range(4)], fresh()
    answers = at_once([lambda who=who: who.put("/user", {"user": {"username": name}}) for who in people])  # type: ignore[misc]
    assert statuses(answers) == [200, 409, 409, 409]
    for person, answer in zip(people, answers, strict=True):
        kept = name if answer.status_code == 200 else person.username
        assert person.get("/user").json()["user"]["username"] == kept
        assert api.get(f"/profiles/{kept}").status_code == 200


def test_twenty_concurrent_favourites_count_twenty(api: Api, jo: Person) -> None:
    slug, people = jo.slug(), [api.sign_up() for _ in range(20)]

    def all_of(method: str) -> list[dict[str, Any]]:
        answers = at_once([lambda who=who: who.call(method, f"/articles/{slug}/favorite") for who in people])  # type: ignore[misc]
        assert statuses(answers) == [200] * 20
        return [answer.json()["article"] for answer in answers]

    assert all(article["favorited"] for article in all_of("POST"))
    assert api.article(slug)["favoritesCount"] == 20
    assert not any(article["favorited"] for article in all_of("DELETE"))
    assert api.article(slug)["favoritesCount"] == 0
    assert all(api.articles(favorited=who.username) == ([], 0) for who in people[:3])


def test_concurrent_favouriting_and_unfavouriting_by_one_user_counts_once_or_not(
    api: Api, jo: Person, ann: Person
) -> None:
    slug = jo.slug()
    path = f"/articles/{slug}/favorite"
    for _ in range(5):
        calls: list[Call] = [lambda: ann.post(path), lambda: ann.delete(path)]
        at_once(calls * 4)
        article = ann.article(slug)
        assert article["favoritesCount"] == int(article["favorited"])
        assert ann.articles(favorited=ann.username)[1] == article["favoritesCount"]


def test_favouriting_and_commenting_during_a_deletion_succeeds_or_is_404(api: Api, jo: Person) -> None:
    people = [api.sign_up() for _ in range(4)]
    for _ in range(5):
        slug = jo.slug(tagList=["shared"])
        calls: list[Call] = [lambda slug=slug: jo.delete(f"/articles/{slug}")]  # type: ignore[misc]
        for who in people:
            calls.append(lambda who=who, slug=slug: who.post(f"/articles/{slug}/favorite"))  # type: ignore[misc]
            calls.append(
                lambda who=who, slug=slug: who.post(f"/articles/{slug}/comments", {"comment": {"body": "x"}})  # type: ignore[misc]
            )
        answers = at_once(calls)
        assert answers[0].status_code == 204
        assert {answer.status_code for answer in answers[1:]} <= {200, 201, 404}
        assert api.get(f"/articles/{slug}").status_code == 404
    for who in people:
        assert api.articles(favorited=who.username) == ([], 0)


def test_concurrent_publishing_and_deleting_keeps_the_counts(api: Api) -> None:
    people, tags = [api.sign_up() for _ in range(4)], [fresh("tag") for _ in range(6)]
    before = api.articles(limit=1)[1]
    kept = []
    for _ in range(3):
        doomed = [who.slug(tagList=tags) for who in people]
        calls: list[Call] = []
        for who, slug in zip(people, doomed, strict=True):
            draft = {"title": "t", "description": "d", "body": "b", "tagList": tags[::-1]}
            calls.append(lambda who=who, draft=draft: who.post("/articles", {"article": draft}))  # type: ignore[misc]
            calls.append(lambda who=who, slug=slug: who.delete(f"/articles/{slug}"))  # type: ignore[misc]
        answers = at_once(calls)
        assert statuses(answers) == [201] * 4 + [204] * 4
        kept += [answer.json()["article"]["slug"] for answer in answers if answer.status_code == 201]
    assert api.articles(limit=1)[1] == before + len(kept)
    for tag in tags:
        slugs, count = api.articles(tag=tag, limit=100)
        assert (set(slugs), count) == (set(kept), len(kept))
    for who in people:
        jo = api.sign_up()
        jo.follow(who)
        slugs, count = jo.feed(limit=100)
        assert len(slugs) == count == 3
