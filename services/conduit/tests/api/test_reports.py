"""Reports on an author's audience: their content, and who may read them."""

import csv
import io
import re

import pytest

from conduit_testing.client import Api, Person, boundaries, errors, fresh

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def made(person: Person) -> str:
    """The address of a new report's file, below /api."""
    report = person.report()
    assert report["state"] == "ready"
    assert person.get(f"/user/reports/{report['id']}").json() == {"report": report}
    return str(report["url"]).removeprefix("/api")


def rows(person: Person) -> list[dict[str, str]]:
    response = person.get(made(person))
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


def test_a_report_lists_followers_favourites_and_comments(api: Api, jo: Person) -> None:
    first, second = jo.slug("First"), jo.slug("Second")
    people = [api.sign_up() for _ in range(6)]
    for person in people[:4]:
        person.follow(jo)
    for person in people[2:]:
        person.favorite(first)
    people[0].favorite(second)
    comments = [people[5].comment(second), people[5].comment(second), jo.comment(first)]
    people[1].slug("Not of this audience")
    people[1].favorite(people[1].slug())

    found = rows(jo)
    assert list(found[0]) == ["username", "relation", "article", "at"]
    assert all(TIME.fullmatch(row["at"]) for row in found)
    told = [(row["username"], row["relation"], row["article"]) for row in found]
    expected = [
        *((person.username, "follower", "") for person in people[:4]),
        *((person.username, "favorited", first) for person in people[2:]),
        (people[0].username, "favorited", second),
        (people[5].username, "commented", second),
        (people[5].username, "commented", second),
        (jo.username, "commented", first),
    ]
    assert sorted(told) == sorted(expected)
    assert [relation for _, relation, _ in told] == [relation for _, relation, _ in expected]
    assert {row["at"] for row in found if row["relation"] == "commented"} == {one["createdAt"] for one in comments}


def test_a_report_without_an_audience_is_empty(jo: Person) -> None:
    response = jo.get(made(jo))
    assert response.text == "username,relation,article,at\r\n"


def test_a_report_is_a_download_that_is_not_cached(jo: Person) -> None:
    response = jo.get(made(jo))
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="audience.csv"'
    assert response.headers["cache-control"] == "private, no-store"


def test_a_requested_report_is_pending_or_ready_at_once(jo: Person) -> None:
    response = jo.post("/user/reports")
    report = response.json()["report"]
    assert set(report) == {"id", "state", "createdAt", "url"}
    assert TIME.fullmatch(report["createdAt"])
    # Made by a worker, it took no time of this request and is still pending.
    address = f"/api/user/reports/{report['id']}/audience.csv"
    made_at_once = "report" in boundaries(response)
    assert (report["state"], report["url"]) == (("ready", address) if made_at_once else ("pending", None))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_no_username_is_a_formula(api: Api, jo: Person, start: str) -> None:
    name = f'{start}HYPERLINK("http:evil","{fresh()}")'
    api.sign_up(name).follow(jo)
    assert [row["username"] for row in rows(jo)] == [f"'{name}"]


@pytest.mark.parametrize("name", ['quote " comma , semi ;', "Ünïcödé 龙", "a'b", "<script>"])
def test_other_usernames_are_unchanged(api: Api, jo: Person, name: str) -> None:
    unique = f"{name}{fresh()}"
    api.sign_up(unique).follow(jo)
    assert [row["username"] for row in rows(jo)] == [unique]


def test_only_its_author_reads_a_report(api: Api, jo: Person, ann: Person) -> None:
    path = made(jo)
    for address in (path, path.removesuffix("/audience.csv")):
        assert jo.get(address).status_code == 200
        response = ann.get(address)
        assert (response.status_code, response.json()) == (404, {"errors": {"report": ["not found"]}})
        assert api.get(address).status_code == 401
    assert api.post("/user/reports").status_code == 401


def test_a_report_does_not_change_after_it_was_made(jo: Person, ann: Person) -> None:
    before = made(jo)
    ann.follow(jo)
    assert ann.username not in jo.get(before).text
    assert ann.username in jo.get(made(jo)).text


@pytest.mark.parametrize("number", ["0", "1", "9007199254740991"])
def test_an_unknown_report_is_404(jo: Person, number: str) -> None:
    for path in (f"/user/reports/{number}", f"/user/reports/{number}/audience.csv"):
        response = jo.get(path)
        assert (response.status_code, response.json()) == (404, {"errors": {"report": ["not found"]}})


@pytest.mark.parametrize("number", ["x", "-1", "9007199254740992", "1.5"])
def test_an_invalid_report_id_is_422(jo: Person, number: str) -> None:
    for path in (f"/user/reports/{number}", f"/user/reports/{number}/audience.csv"):
        response = jo.get(path)
        assert response.status_code == 422
        assert list(errors(response)) == ["report_id"]
