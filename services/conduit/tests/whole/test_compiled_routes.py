"""Every route of the app responds the same, whether it is compiled or served by FastAPI alone (ROUTES=plain).

The two share one database. Each request goes to both, and the responses are compared. Requests that write have separate
articles and users.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.routing import APIRoute

from conduit.main import ROUTERS
from conduit_testing.client import PASSWORD, Api, Person, fresh
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for
from conduit_testing.pictures import upload

ROUTES = {
    f"{method} {route.path}"
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods or ()
}


class Both(NamedTuple):
    compiled: Api
    plain: Api


@pytest.fixture(scope="module")
def both(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    settings = settings_for(migrated(new_database), media_dir=tmp_path_factory.mktemp("media"))
    plain = settings.model_copy(update={"routes": "plain"})
    with (
        served(settings) as compiled_url,
        served(plain) as plain_url,
        httpx.Client(base_url=compiled_url, timeout=20) as compiled,
        httpx.Client(base_url=plain_url, timeout=20) as alone,
    ):
        yield Both(Api(compiled), Api(alone))


class World(NamedTuple):
    """The users and articles of the requests: ``jo`` is the author, ``ann`` a follower."""

    jo: Person
    ann: Person
    slug: str
    covered: str
    comment_id: int
    report_id: int
    file: str


@pytest.fixture
def world(both: Both) -> Callable[[Api], World]:
    def make(api: Api) -> World:
        jo, ann = api.sign_up(), api.sign_up()
        slug, covered = jo.slug("One", tagList=["b", "a"]), jo.slug("Two")
        jo.cover(covered, upload("PNG"))
        ann.favorite(slug)
        ann.follow(jo)
        comment = jo.comment(slug)["id"]
        file = api.article(covered)["cover"]["small"].rpartition("/")[2]
        return World(jo, ann, slug, covered, comment, jo.report()["id"], file)

    return make


def _requests(world: World) -> dict[str, list[tuple[Person | None, str, str, dict[str, Any]]]]:
    """The requests to each route: who, method, path and body. Those that delete come last."""
    jo, ann, slug = world.jo, world.ann, world.slug
    article = {"title": "T", "description": "d", "body": "b", "tagList": ["x", "x", "a"]}
    wrong = {"article": {"title": "", "description": 1, "tagList": ["a\nb"]}}
    bad_json = {"content": b"{", "headers": {"Content-Type": "application/json"}}

    def sent(who: Person | None, method: str, path: str, *bodies: Any) -> list[tuple[Person | None, str, str, Any]]:
        return [(who, method, path, body if "content" in body else {"json": body}) for body in bodies]

    def asked(method: str, path: str, *people: Person | None) -> list[tuple[Person | None, str, str, Any]]:
        return [(who, method, path, {}) for who in people]

    new = {"username": fresh(), "email": f"{fresh()}@example.com", "password": PASSWORD}
    login = {"email": jo.email, "password": PASSWORD}
    cover = f"/api/articles/{slug}/cover"
    return {
        "GET /api/articles": [
            *asked("GET", f"/api/articles?author={jo.username}", None, ann),
            *asked("GET", f"/api/articles?favorited={ann.username}&limit=1&offset=0", None, jo),
            *asked("GET", f"/api/articles?author={jo.username}&before=5&tag=a", None),
            *asked("GET", "/api/articles?limit=0&offset=-1&before=x&tag=%00", None, jo),
            *asked("GET", f"/api/articles?offset=10001&author={'x' * 201}", None),
        ],
        "GET /api/articles/feed": asked("GET", "/api/articles/feed?limit=5", None, ann, jo)
        + asked("GET", "/api/articles/feed?limit=x", None, ann),
        "GET /api/articles/{slug}": asked("GET", f"/api/articles/{slug}", None, jo, ann)
        + asked("GET", "/api/articles/nothing-1", None, jo),
        "POST /api/articles": sent(jo, "POST", "/api/articles", {"article": article}, wrong, {}, [], bad_json)
        + sent(None, "POST", "/api/articles", {"article": article}, bad_json),
        "PUT /api/articles/{slug}": sent(
            jo, "PUT", f"/api/articles/{slug}", {"article": {"body": "B"}}, {"article": {}}, wrong
        )
        + sent(ann, "PUT", f"/api/articles/{slug}", {"article": {"body": "B"}}, wrong),
        "POST /api/articles/{slug}/favorite": asked("POST", f"/api/articles/{slug}/favorite", None, jo, jo)
        + asked("POST", "/api/articles/none-1/favorite", jo),
        "DELETE /api/articles/{slug}/favorite": asked("DELETE", f"/api/articles/{slug}/favorite", None, jo, ann),
        "GET /api/articles/{slug}/comments": asked("GET", f"/api/articles/{slug}/comments", None, ann)
        + asked("GET", f"/api/articles/{slug}/comments?limit=101&before=-1", None)
        + asked("GET", "/api/articles/none-1/comments", None),
        "POST /api/articles/{slug}/comments": sent(
            ann, "POST", f"/api/articles/{slug}/comments", {"comment": {"body": "c"}}, {"comment": {"body": " "}}
        )
        + sent(None, "POST", f"/api/articles/{slug}/comments", {"comment": {"body": "c"}}),
        "DELETE /api/articles/{slug}/comments/{comment_id}": [
            *asked("DELETE", f"/api/articles/{slug}/comments/x", jo, None),
            *asked("DELETE", f"/api/articles/{slug}/comments/{world.comment_id}", None, ann, jo, jo),
        ],
        "GET /api/profiles/{username}": asked("GET", f"/api/profiles/{jo.username}", None, ann)
        + asked("GET", "/api/profiles/nobody", None),
        "POST /api/profiles/{username}/follow": asked("POST", f"/api/profiles/{ann.username}/follow", None, jo, ann),
        "DELETE /api/profiles/{username}/follow": asked("DELETE", f"/api/profiles/{ann.username}/follow", None, jo),
        "GET /api/tags": asked("GET", "/api/tags", None),
        "POST /api/users": sent(None, "POST", "/api/users", {"user": new}, {"user": new}, {"user": {"email": "x"}}),
        "POST /api/users/login": sent(
            None, "POST", "/api/users/login", {"user": login}, {"user": login | {"password": "x"}}, {"user": None}
        ),
        "GET /api/user": asked("GET", "/api/user", None, jo),
        "PUT /api/user": [
            *sent(jo, "PUT", "/api/user", {"user": {"bio": "b"}}, {"user": {"username": "a/b"}}, {"user": {}}),
            *sent(None, "PUT", "/api/user", {"user": {"bio": "b"}}),
        ],
        "POST /api/user/reports": asked("POST", "/api/user/reports", None, jo),
        "GET /api/user/reports/{report_id}": asked("GET", f"/api/user/reports/{world.report_id}", None, ann, jo)
        + asked("GET", "/api/user/reports/x", jo),
        "GET /api/user/reports/{report_id}/audience.csv": asked(
            "GET", f"/api/user/reports/{world.report_id}/audience.csv", None, ann, jo
        ),
        "GET /media/{name}": [
            *asked("GET", f"/media/{world.file}", None),
            (None, "GET", f"/media/{world.file}", {"headers": {"If-None-Match": "*"}}),
            *asked("GET", "/media/nothing", None),
        ],
        "PUT /api/articles/{slug}/cover": [
            (who, "PUT", cover, {"content": content})
            for who, content in ((jo, upload("PNG")), (jo, b"no image"), (jo, b""), (ann, upload("PNG")), (None, b"x"))
        ],
        "DELETE /api/articles/{slug}/cover": asked("DELETE", cover, None, ann, jo),
        "DELETE /api/articles/{slug}": asked("DELETE", f"/api/articles/{slug}", None, ann, jo, jo),
    }


_CHANGING = re.compile(
    r'"(?:createdAt|updatedAt|token)":"[^"]*"|p[0-9a-f]{12}|(?<=-)\d{12,16}|(?<="id":)\d+|(?<=reports/)\d+'
)


# What an answer says beside its content. Ids, times and the length of what has them are each world's own.
_HEADERS = ("allow", "cache-control", "content-disposition", "retry-after", "www-authenticate")


def _said(answer: httpx.Response) -> Any:
    """Status, headers, kind and content, without names, ids and times."""
    headers = {name: answer.headers.get(name) for name in _HEADERS} | {"etag": "etag" in answer.headers}
    if answer.status_code == 204:  # nothing is said, of whatever kind
        return 204, headers, None, answer.content
    kind = answer.headers.get("content-type")
    if kind is None or not (kind.startswith(("application/json", "text/csv"))):
        return answer.status_code, headers, kind, answer.content
    text = json.dumps(answer.json(), separators=(",", ":")) if "json" in kind else answer.text
    without = _CHANGING.sub("*", text)
    return answer.status_code, headers, kind, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "*", without)


def test_every_route_responds_like_fastapi_alone(both: Both, world: Callable[[Api], World]) -> None:
    worlds = [world(api) for api in both]
    requests = [_requests(each) for each in worlds]
    assert set(requests[0]) == ROUTES
    compared = 0
    for route, of_compiled in requests[0].items():
        for (who, method, path, body), (who_plain, _, path_plain, body_plain) in zip(
            of_compiled, requests[1][route], strict=True
        ):
            answers = []
            for api, caller, url, given in (
                (both.compiled, who, path, body),
                (both.plain, who_plain, path_plain, body_plain),
            ):
                headers = {"Authorization": f"Token {caller.token}"} if caller else {}
                given = {**given, "headers": headers | given.get("headers", {})}  # noqa: PLW2901
                answers.append(_said(api.http.request(method, url, **given)))
            assert answers[0] == answers[1], f"{route}: {method} {path} {body}"
            compared += 1
    assert compared > 90


# Requests that a front end would not make, each as method, path and body.
ODD = [
    ("GET", "/api/articles?limit=1&limit=2&tag=a&tag=b", b""),
    ("GET", "/api/articles?limit=%", b""),
    ("GET", "/api/articles?=&&limit=+3&author=%ff", b""),
    ("GET", "/api/articles?limit=1_0", b""),
    ("GET", "/api/articles?limit=1.0", b""),
    ("GET", "/api/articles?tag=%ed%a0%80", b""),
    ("GET", "/api/articles/a%2fb-1", b""),
    ("GET", "/api/articles/%20-1", b""),
    ("GET", "/api/articles/", b""),
    ("GET", "/api/profiles/a%00b", b""),
    ("GET", "/api/profiles/" + "x" * 5_000, b""),
    ("GET", "/api/tags", b"{}"),
    ("PATCH", "/api/articles", b"{}"),
    ("DELETE", "/api/tags", b""),
    ("GET", "/nothing", b""),
    ("POST", "/api/articles", b"null"),
    ("POST", "/api/articles", b"[" * 100_000),
    ("POST", "/api/articles", b'{"article": {"title": 1e999, "description": NaN, "body": []}}'),
    ("POST", "/api/articles", b'{"article": {"title": "a", "title": "", "description": "d", "body": "b"}}'),
    ("POST", "/api/articles", b'{"article": {"title": "t", "description": "d", "body": "b", "tagList": [1]}}'),
    ("POST", "/api/articles", b'{"article": {"title": "t", "description": "d", "body": "\xff"}}'),
]


@pytest.mark.parametrize(("method", "path", "body"), ODD, ids=lambda value: str(value)[:40])
def test_odd_requests_are_answered_as_fastapi_alone_does(both: Both, method: str, path: str, body: bytes) -> None:
    answers = []
    for api in both:
        jo = api.sign_up()
        headers = {"Authorization": f"Token {jo.token}", "Content-Type": "application/json"}
        answers.append(_said(api.http.request(method, path, content=body, headers=headers)))
    assert answers[0] == answers[1]


# What differs, each as method, path, body and type, and the statuses of compiled routes and of FastAPI alone: a
# compiled route reads every body as JSON in UTF-8, whatever its type says, and answers HEAD as it does GET.
DIFFERENT = {
    "another type": ("PUT", "/api/user", b'{"user": {"bio": "b"}}', "text/plain", [200, 422]),
    "UTF-16": ("PUT", "/api/user", '{"user": {"bio": "b"}}'.encode("utf-16"), "application/json", [422, 200]),
    "HEAD": ("HEAD", "/api/tags", b"", "application/json", [200, 405]),
}


@pytest.mark.parametrize("difference", DIFFERENT.values(), ids=DIFFERENT)
def test_the_differences_are_these(both: Both, difference: tuple[str, str, bytes, str, list[int]]) -> None:
    method, path, body, kind, statuses = difference
    found = []
    for api in both:
        jo = api.sign_up()
        headers = {"Authorization": f"Token {jo.token}", "Content-Type": kind}
        found.append(api.http.request(method, path, content=body, headers=headers).status_code)
    assert found == statuses


def test_half_a_surrogate_pair_is_refused_by_both(both: Both) -> None:
    article = {"title": "t", "description": "d", "body": "b", "tagList": ["a"]}
    for field, bad in (("title", "\ud800"), ("body", "\ud800"), ("tagList", ["\ud800"])):
        for api in both:
            sent = json.dumps({"article": article | {field: bad}}).encode()
            assert api.sign_up().call("POST", "/articles", content=sent).status_code == 422
