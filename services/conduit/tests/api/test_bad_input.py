"""Invalid requests: each gets an error that says what is wrong, and none is a 500."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from conduit_testing.client import PASSWORD, Api, Person, errors, fresh

MEGABYTE = 1_000_000


# Every route with a body, and valid fields for it.
class Route(NamedTuple):
    method: str
    path: str
    wrapper: str
    good: dict[str, Any]

    def send(self, who: Person, slug: str, **body: Any) -> httpx.Response:
        return who.call(self.method, self.path.format(slug=slug), **body)


ROUTES = {
    "sign up": Route("POST", "/users", "user", {"username": "u", "email": "u@example.com", "password": "long enough"}),
    "sign in": Route("POST", "/users/login", "user", {"email": "u@example.com", "password": "long enough"}),
    "change user": Route("PUT", "/user", "user", {"bio": "b"}),
    "publish": Route("POST", "/articles", "article", {"title": "t", "description": "d", "body": "b"}),
    "change article": Route("PUT", "/articles/{slug}", "article", {"title": "t"}),
    "comment": Route("POST", "/articles/{slug}/comments", "comment", {"body": "b"}),
}
every_body = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
# Signing in and up take 16 kB, as nobody is signed in yet; the others a megabyte.
LARGE = [name for name in ROUTES if not name.startswith("sign")]


@pytest.fixture(scope="module")
def jo(http: httpx.Client) -> Person:
    """One for all of these tests, of which nearly every request changes nothing: to sign up takes longest."""
    return Api(http).sign_up()


@pytest.fixture(scope="module")
def slug(jo: Person) -> str:
    return jo.slug()


@every_body
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"not json",
        b'{"user": }',
        b"\xff\xfe",
        b'{"a": 1} trailing',
        b"[" * 15_000,
        b'{"user":' * 1_900,
        b'{"user": {"email": "\\ud800", "username": "\\udfff", "body": "\\ud800x"}',
    ],
    ids=["empty", "open", "text", "hole", "bom", "trailing", "deep list", "deep object", "surrogates"],
)
def test_invalid_json_is_422(jo: Person, slug: str, route: Route, sent: bytes) -> None:
    response = route.send(jo, slug, content=sent, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert list(errors(response)) == ["body"]


@pytest.mark.parametrize("route", [ROUTES[name] for name in LARGE], ids=LARGE)
@pytest.mark.parametrize("sent", [b"[" * 100_000, b'{"user":' * 50_000], ids=["list", "object"])
def test_deeper_json_is_422_where_more_is_taken(jo: Person, slug: str, route: Route, sent: bytes) -> None:
    response = route.send(jo, slug, content=sent, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert list(errors(response)) == ["body"]


@every_body
@pytest.mark.parametrize("wrong", [None, 1, True, "text", [], {}, 1.5], ids=repr)
def test_a_body_of_the_wrong_type_is_422(jo: Person, slug: str, route: Route, wrong: Any) -> None:
    for sent in (wrong, {route.wrapper: wrong}, {"other": route.good}):
        response = route.send(jo, slug, json=sent)
        assert response.status_code == 422
        assert errors(response)


@every_body
@pytest.mark.parametrize("wrong", [1, True, [], {}, ["text"], {"a": 1}, 10**400], ids=lambda value: repr(value)[:20])
def test_a_field_of_the_wrong_type_is_named(jo: Person, slug: str, route: Route, wrong: Any) -> None:
    for field in route.good:
        response = route.send(jo, slug, json={route.wrapper: route.good | {field: wrong}})
        assert response.status_code == 422
        assert list(errors(response)) == [field]


@every_body
def test_a_nul_or_a_lone_surrogate_in_a_text_is_422(jo: Person, slug: str, route: Route) -> None:
    for field in route.good:
        for bad in ("a\x00b", "\x00", "a\ud800b"):
            sent = json.dumps({route.wrapper: route.good | {field: bad}}).encode()
            response = route.send(jo, slug, content=sent)
            assert response.status_code in ((401, 422) if "login" in route.path else (422,)), (
                field,
                bad,
                response.text,
            )
            assert errors(response)
        broken = json.dumps({route.wrapper: route.good | {field: "BROKEN"}}).encode().replace(b"BROKEN", b"\xc3\x28")
        assert route.send(jo, slug, content=broken).status_code == 422


@every_body
def test_unknown_fields_are_ignored(jo: Person, slug: str, route: Route) -> None:
    known = {key: f"{fresh()}@example.com" if key == "email" else fresh() for key in route.good}
    if "login" in route.path:
        known = {"email": jo.email, "password": PASSWORD}
    unknown = {"id": 1, "author": {"username": "x"}, "favoritesCount": 99, "favorited": True, "createdAt": "2001-01-01"}
    response = route.send(jo, slug, json={route.wrapper: known | unknown, "more": [1]})
    assert response.status_code in (200, 201)
    (answer,) = response.json().values()
    assert known.items() - {("password", known.get("password"))} <= {
        (key, value) for key, value in answer.items() if isinstance(value, str)
    }
    assert [key for key, value in unknown.items() if answer.get(key) == value] == []


@every_body
def test_a_body_of_ten_megabytes_is_413(jo: Person, slug: str, route: Route) -> None:
    field = list(route.good)[-1]
    sent = json.dumps({route.wrapper: route.good | {field: "x" * 10 * MEGABYTE}}).encode()

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(sent), 65_536):
            yield sent[start : start + 65_536]

    for content in (sent, in_pieces()):
        response = route.send(jo, slug, content=content)
        assert response.status_code == 413
        assert list(errors(response)) == ["body"]
    assert jo.get("/user").status_code == 200


def test_a_text_of_many_characters_within_the_limit_is_stored(api: Api, jo: Person) -> None:
    body = "龙" * 200_000
    assert api.article(jo.slug(body=body))["body"] == body


@pytest.mark.parametrize("nul", ["%00", "a%00b", "%00-1"])
def test_a_nul_in_a_path_is_no_500(api: Api, jo: Person, nul: str) -> None:
    for response in (
        api.get(f"/profiles/{nul}"),
        jo.post(f"/profiles/{nul}/follow"),
        api.get(f"/articles/{nul}"),
        api.get(f"/articles/{nul}/comments"),
        jo.post(f"/articles/{nul}/favorite"),
        jo.delete(f"/articles/{nul}/comments/%00"),
        jo.delete(f"/articles/{nul}/cover"),
        jo.get(f"/user/reports/{nul}"),
        jo.get(f"/user/reports/{nul}/audience.csv"),
    ):
        assert response.status_code in (400, 404, 422)  # to NGINX, where one stands before the app, it is no path
        assert errors(response)


@pytest.mark.parametrize("name", ["tag", "author", "favorited"])
@pytest.mark.parametrize("value", ["%00", "a%00b", "%ff", "%ed%a0%80", "%", "%zz", "", "%F0%9F%90%89"])
def test_odd_characters_in_a_filter_are_no_500(api: Api, jo: Person, name: str, value: str) -> None:
    for reader in (api, jo):
        response = reader.call("GET", f"/articles?{name}={value}")
        assert response.status_code in (200, 422)
        assert response.status_code == 200 or errors(response)


@pytest.mark.parametrize(
    "text", ["%ff", "%ed%a0%80", "%c3%28", "%F0%9F%90%89", "%25", "..%2f..", "%0d%0aX:1", "a" * 5000]
)
def test_odd_characters_in_a_path_are_404(api: Api, text: str) -> None:
    for path in (f"/profiles/{text}", f"/articles/{text}"):
        response = api.get(path)
        assert response.status_code == 404
        assert errors(response)


def test_an_unknown_route_is_404_and_an_unknown_method_405(api: Api, jo: Person) -> None:
    for path in ("/nothing", "/articles/a/b/c", "/users/login/x"):
        response = jo.get(path)
        assert response.status_code == 404
        assert list(errors(response)) == ["body"]
    response = jo.call("PATCH", "/articles")
    assert response.status_code == 405
    assert list(errors(response)) == ["body"]


def test_a_repeated_parameter_is_no_500(api: Api) -> None:
    assert api.call("GET", "/articles?limit=1&limit=2&tag=a&tag=b").status_code == 200


def test_an_empty_parameter_is_one_that_is_not_given(api: Api, ann: Person) -> None:
    """A form sends all of its fields."""
    slug = ann.slug()
    listed = api.call("GET", f"/articles?tag=&author={ann.username}&favorited=&limit=&offset=&before=").json()
    assert [article["slug"] for article in listed["articles"]] == [slug]
    assert api.call("GET", "/articles?tag=&author=&favorited=").json() == api.call("GET", "/articles").json()
    assert api.call("GET", f"/articles/{slug}/comments?limit=&before=").status_code == 200
    assert ann.get("/articles/feed?limit=&offset=").status_code == 200


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN", "Bearer", "bearer", "Token "])
def test_a_token_is_taken_however_its_scheme_is_written(http: httpx.Client, jo: Person, scheme: str) -> None:
    assert http.get("/api/user", headers={"Authorization": f"{scheme} {jo.token}"}).status_code == 200


def test_a_body_without_a_content_type_is_read_as_json(http: httpx.Client, jo: Person) -> None:
    sent = json.dumps({"user": {"bio": "by hand"}}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
        response = jo.call("PUT", "/user", content=sent, headers={"Content-Type": kind})
        assert response.status_code == 200
