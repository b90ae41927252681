"""RealWorld's contract, walked: every operation, each status that it declares, and the body that comes with it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from conduit_testing.client import PASSWORD, Api, Caller, Person, errors, fresh

# What any request may meet, whatever it asks for: limits, overload, a body that does not come.
BESIDE_THE_POINT = {"408", "413", "429", "503"}
# A name with a NUL: the app's 422 is a 400 where NGINX is before it. test_bad_input.py has both.
ELSEWHERE = {"GET /profiles/{username}": {"422"}}
# RealWorld's specification 2.0.0 (https://github.com/realworld-apps/realworld): the statuses of each operation.
CONTRACT = {
    "POST /users": {"201", "409", "422"},
    "POST /users/login": {"200", "401", "422"},
    "GET /user": {"200", "401", "422"},
    "PUT /user": {"200", "401", "422"},
    "GET /profiles/{username}": {"200", "401", "404", "422"},
    "POST /profiles/{username}/follow": {"200", "401", "404", "422"},
    "DELETE /profiles/{username}/follow": {"200", "401", "404", "422"},
    "GET /articles": {"200", "401", "422"},
    "GET /articles/feed": {"200", "401", "422"},
    "POST /articles": {"201", "401", "409", "422"},
    "GET /articles/{slug}": {"200", "404", "422"},
    "PUT /articles/{slug}": {"200", "401", "403", "404", "422"},
    "DELETE /articles/{slug}": {"204", "401", "403", "404", "422"},
    "GET /articles/{slug}/comments": {"200", "401", "404", "422"},
    "POST /articles/{slug}/comments": {"201", "401", "404", "422"},
    "DELETE /articles/{slug}/comments/{id}": {"204", "401", "403", "404", "422"},
    "POST /articles/{slug}/favorite": {"200", "401", "404", "422"},
    "DELETE /articles/{slug}/favorite": {"200", "401", "404", "422"},
    "GET /tags": {"200", "422"},
}
# What the app has no occasion for: two articles may have one title, and where nothing is sent, nothing can be wrong.
NEVER = {
    "GET /user": {"422"},
    "POST /articles": {"409"},
    "GET /articles/{slug}": {"422"},
    "DELETE /articles/{slug}": {"422"},
    "POST /articles/{slug}/favorite": {"422"},
    "DELETE /articles/{slug}/favorite": {"422"},
    "GET /tags": {"422"},
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

USER = {"email": str, "token": str, "username": str, "bio": str | None, "image": str | None}
PROFILE = {"username": str, "bio": str | None, "image": str | None, "following": bool}
SUMMARY = {
    "slug": str, "title": str, "description": str, "tagList": [str], "createdAt": INSTANT, "updatedAt": INSTANT,
    "favorited": bool, "favoritesCount": int, "author": PROFILE,
}  # fmt: skip
ARTICLE = SUMMARY | {"body": str}
COMMENT = {"id": int, "createdAt": INSTANT, "updatedAt": INSTANT, "body": str, "author": PROFILE}

Body = Any
Errors = dict[str, list[str]]
MISSING: Errors = {"token": ["is missing"]}
BLANK = ["can't be blank"]


@dataclass
class Scene:
    """An author with an article and a comment on it, somebody who follows the author, and a reader who does not."""

    author: Person
    reader: Person
    nobody: Caller
    stranger: Caller
    follower: Person
    slug: str = ""
    comment: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.follower.follow(self.author)
        self.slug = self.author.slug(tagList=["walked"])
        self.comment = self.author.comment(self.slug)["id"]
        self.names = {
            "slug": self.slug,
            "id": str(self.comment),
            "username": self.author.username,
            "own": self.reader.username,
            "fresh": fresh(),
        }


@pytest.fixture
def scene(http: httpx.Client, api: Api, jo: Person, ann: Person) -> Scene:
    return Scene(jo, ann, Caller(http), Caller(http, "no.such.token"), api.sign_up())


@dataclass(frozen=True)
class Case:
    """One request, and what it gets: a body's shape, or its errors."""

    operation: str
    status: int
    who: str = "reader"
    path: str = ""
    body: Callable[[Scene], Body] | None = None
    shape: Any = None
    errors: Errors | None = None

    def __str__(self) -> str:
        return f"{self.operation} {self.status}" + (f" {next(iter(self.errors))}" if self.errors else "")


def _user(**changes: Any) -> Callable[[Scene], Body]:
    def body(scene: Scene) -> Body:
        name = scene.names["fresh"]
        return {"user": {"username": name, "email": f"{name}@example.com", "password": PASSWORD} | changes}

    return body


def _sign_in(password: str = PASSWORD) -> Callable[[Scene], Body]:
    return lambda scene: {"user": {"email": scene.reader.email, "password": password}}


def _just(body: Body) -> Callable[[Scene], Body]:
    return lambda _scene: body


DRAFT = {"title": "Title", "description": "About", "body": "Text", "tagList": ["one", "two"]}
NOBODY = "nobody-of-this-name"
GONE = "no-such-article-1"
A_COMMENT = _just({"comment": {"body": "Thank you!"}})


def _takes_a_token(operation: str) -> Case:
    """Anybody may ask; whoever brings a token brings a good one."""
    return Case(operation, 401, "stranger", errors={"token": ["is invalid"]})


def _needs_a_token(operation: str, path: str = "", body: Callable[[Scene], Body] | None = None) -> Case:
    return Case(operation, 401, "nobody", path, body, errors=MISSING)


CASES = [
    # Users
    Case("POST /users", 201, "nobody", body=_user(), shape={"user": USER}),
    Case("POST /users", 409, "nobody", body=lambda scene: _user(username=scene.author.username)(scene),
         errors={"username": ["has already been taken"]}),
    Case("POST /users", 409, "nobody", body=lambda scene: _user(email=scene.author.email)(scene),
         errors={"email": ["has already been taken"]}),
    Case("POST /users", 422, "nobody", body=_user(username=""), errors={"username": BLANK}),
    Case("POST /users", 422, "nobody", body=_user(email=""), errors={"email": BLANK}),
    Case("POST /users", 422, "nobody", body=_user(password=""), errors={"password": BLANK}),
    Case("POST /users", 422, "nobody", body=_user(password="seven77"),
         errors={"password": ["is too short (at least 8 characters)"]}),
    Case("POST /users/login", 200, "nobody", body=_sign_in(), shape={"user": USER}),
    Case("POST /users/login", 401, "nobody", body=_sign_in("wrong password"), errors={"credentials": ["invalid"]}),
    Case("POST /users/login", 422, "nobody", body=_just({"user": {"email": "", "password": PASSWORD}}),
         errors={"email": BLANK}),
    Case("GET /user", 200, shape={"user": USER}),
    _needs_a_token("GET /user"),
    Case("PUT /user", 200, body=_just({"user": {"bio": "Reads"}}), shape={"user": USER | {"bio": str}}),
    Case("PUT /user", 200, body=_just({"user": {"bio": None, "image": None}}),
         shape={"user": USER | {"bio": None, "image": None}}),
    _needs_a_token("PUT /user", body=_just({"user": {"bio": "Reads"}})),
    Case("PUT /user", 409, body=lambda scene: {"user": {"username": scene.author.username}},
         errors={"username": ["has already been taken"]}),
    Case("PUT /user", 422, body=_just({"user": {"username": ""}}), errors={"username": BLANK}),
    # Profiles
    Case("GET /profiles/{username}", 200, "nobody", shape={"profile": PROFILE}),
    Case("GET /profiles/{username}", 404, path=f"/profiles/{NOBODY}", errors={"profile": ["not found"]}),
    _takes_a_token("GET /profiles/{username}"),
    Case("POST /profiles/{username}/follow", 200, shape={"profile": PROFILE | {"following": True}}),
    _needs_a_token("POST /profiles/{username}/follow"),
    Case("POST /profiles/{username}/follow", 404, path=f"/profiles/{NOBODY}/follow",
         errors={"profile": ["not found"]}),
    Case("POST /profiles/{username}/follow", 422, path="/profiles/{own}/follow",
         errors={"username": ["is your own"]}),
    Case("DELETE /profiles/{username}/follow", 200, shape={"profile": PROFILE | {"following": False}}),
    _needs_a_token("DELETE /profiles/{username}/follow"),
    Case("DELETE /profiles/{username}/follow", 404, path=f"/profiles/{NOBODY}/follow",
         errors={"profile": ["not found"]}),
    Case("DELETE /profiles/{username}/follow", 422, path="/profiles/{own}/follow",
         errors={"username": ["is your own"]}),
    # Articles
    Case("GET /articles", 200, "nobody", shape={"articles": [SUMMARY], "articlesCount": int}),
    _takes_a_token("GET /articles"),
    Case("GET /articles", 422, path="/articles?limit=0", errors={"limit": ["must be at least 1"]}),
    Case("GET /articles/feed", 200, "follower", shape={"articles": [SUMMARY], "articlesCount": int}),
    _needs_a_token("GET /articles/feed"),
    Case("GET /articles/feed", 422, path="/articles/feed?offset=-1", errors={"offset": ["must be at least 0"]}),
    Case("POST /articles", 201, body=_just({"article": DRAFT}), shape={"article": ARTICLE}),
    _needs_a_token("POST /articles", body=_just({"article": DRAFT})),
    Case("POST /articles", 422, body=_just({"article": DRAFT | {"title": ""}}), errors={"title": BLANK}),
    Case("POST /articles", 422, body=_just({"article": DRAFT | {"body": ""}}), errors={"body": BLANK}),
    Case("GET /articles/{slug}", 200, "nobody", shape={"article": ARTICLE}),
    _takes_a_token("GET /articles/{slug}"),
    Case("GET /articles/{slug}", 404, path=f"/articles/{GONE}", errors={"article": ["not found"]}),
    Case("PUT /articles/{slug}", 200, "author", body=_just({"article": {"body": "Another"}}),
         shape={"article": ARTICLE}),
    _needs_a_token("PUT /articles/{slug}", body=_just({"article": {"body": "Another"}})),
    Case("PUT /articles/{slug}", 403, body=_just({"article": {"body": "Another"}}), errors={"article": ["forbidden"]}),
    Case("PUT /articles/{slug}", 404, path=f"/articles/{GONE}", body=_just({"article": {"body": "Another"}}),
         errors={"article": ["not found"]}),
    Case("PUT /articles/{slug}", 422, "author", body=_just({"article": {"title": ""}}), errors={"title": BLANK}),
    Case("DELETE /articles/{slug}", 204, "author"),
    _needs_a_token("DELETE /articles/{slug}"),
    Case("DELETE /articles/{slug}", 403, errors={"article": ["forbidden"]}),
    Case("DELETE /articles/{slug}", 404, path=f"/articles/{GONE}", errors={"article": ["not found"]}),
    # Comments
    Case("GET /articles/{slug}/comments", 200, "nobody", shape={"comments": [COMMENT]}),
    _takes_a_token("GET /articles/{slug}/comments"),
    Case("GET /articles/{slug}/comments", 404, path=f"/articles/{GONE}/comments", errors={"article": ["not found"]}),
    Case("GET /articles/{slug}/comments", 422, path="/articles/{slug}/comments?limit=x",
         errors={"limit": ["must be a whole number"]}),
    Case("POST /articles/{slug}/comments", 201, body=A_COMMENT, shape={"comment": COMMENT}),
    _needs_a_token("POST /articles/{slug}/comments", body=A_COMMENT),
    Case("POST /articles/{slug}/comments", 404, path=f"/articles/{GONE}/comments", body=A_COMMENT,
         errors={"article": ["not found"]}),
    Case("POST /articles/{slug}/comments", 422, body=_just({"comment": {"body": ""}}), errors={"body": BLANK}),
    Case("DELETE /articles/{slug}/comments/{id}", 204, "author"),
    _needs_a_token("DELETE /articles/{slug}/comments/{id}"),
    Case("DELETE /articles/{slug}/comments/{id}", 403, errors={"comment": ["forbidden"]}),
    Case("DELETE /articles/{slug}/comments/{id}", 404, path="/articles/{slug}/comments/1",
         errors={"comment": ["not found"]}),
    Case("DELETE /articles/{slug}/comments/{id}", 404, path=f"/articles/{GONE}/comments/1",
         errors={"article": ["not found"]}),
    Case("DELETE /articles/{slug}/comments/{id}", 422, path="/articles/{slug}/comments/x",
         errors={"comment_id": ["must be a whole number"]}),
    # Favourites and tags
    Case("POST /articles/{slug}/favorite", 200, shape={"article": ARTICLE | {"favorited": True}}),
    _needs_a_token("POST /articles/{slug}/favorite"),
    Case("POST /articles/{slug}/favorite", 404, path=f"/articles/{GONE}/favorite", errors={"article": ["not found"]}),
    Case("DELETE /articles/{slug}/favorite", 200, shape={"article": ARTICLE | {"favorited": False}}),
    _needs_a_token("DELETE /articles/{slug}/favorite"),
    Case("DELETE /articles/{slug}/favorite", 404, path=f"/articles/{GONE}/favorite",
         errors={"article": ["not found"]}),
    Case("GET /tags", 200, "nobody", shape={"tags": [str]}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_gets_what_the_contract_says(scene: Scene, case: Case) -> None:
    method, _, template = case.operation.partition(" ")
    caller: Caller = getattr(scene, case.who)
    sent = {} if case.body is None else {"json": case.body(scene)}
    answer = caller.call(method, (case.path or template).format(**scene.names), **sent)
    assert answer.status_code == case.status, answer.text
    if case.errors is not None:
        assert errors(answer) == case.errors
    elif case.shape is None:
        assert answer.content == b""
    else:
        _check(answer.json(), case.shape, "")


def test_the_walk_misses_no_status_that_the_contract_or_the_description_has(api: Api) -> None:
    paths = api.http.get("/api/openapi.json").json()["paths"]
    walked: dict[str, set[str]] = {}
    for case in CASES:
        walked.setdefault(case.operation, set()).add(str(case.status))
    for operation, statuses in CONTRACT.items():
        method, _, template = operation.partition(" ")
        (described,) = [
            {*path[method.lower()]["responses"]}
            for name, path in paths.items()
            if method.lower() in path and _shape_of(name) == _shape_of(f"/api{template}")
        ]
        never = NEVER.get(operation, set())
        assert not described & never, operation
        known = walked[operation] | ELSEWHERE.get(operation, set())
        assert (described - BESIDE_THE_POINT) | (statuses - never) <= known, operation


def _shape_of(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _check(value: Any, shape: Any, where: str) -> None:
    """Raise AssertionError where a value is not of the shape; of objects, more is allowed."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, part in shape.items():
            assert name in value, f"{where}.{name}"
            _check(value[name], part, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        assert value or shape == [str], f"{where}: nothing that could be of a wrong shape"
        for one in value:
            _check(one, shape[0], f"{where}[]")
    elif isinstance(shape, re.Pattern):
        assert shape.fullmatch(value), f"{where}: {value}"
    elif shape is None or isinstance(shape, bool):
        assert value is shape, f"{where}: {value}"
    else:
        assert isinstance(value, shape), f"{where}: {value!r}"
        assert shape is bool or not isinstance(value, bool), f"{where}: {value!r}"
