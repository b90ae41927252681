"""Tokens that are missing, forged, expired or valid."""

import base64
import json
import time
from typing import Any

import jwt
import pytest

from conduit_testing.client import Api, Caller, Person, errors

MISSING = {"errors": {"token": ["is missing"]}}
NEEDS_TOKEN = [
    ("GET", "/user"), ("PUT", "/user"), ("POST", "/profiles/x/follow"), ("DELETE", "/profiles/x/follow"),
    ("GET", "/articles/feed"), ("POST", "/articles"), ("PUT", "/articles/x-1"), ("DELETE", "/articles/x-1"),
    ("POST", "/articles/x-1/favorite"), ("DELETE", "/articles/x-1/favorite"), ("POST", "/articles/x-1/comments"),
    ("DELETE", "/articles/x-1/comments/1"),
]  # fmt: skip
OPEN = ["/articles", "/articles?tag=x", "/tags", "/articles/x-1", "/profiles/x", "/articles/x-1/comments"]


def _unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join([*parts, ""])


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "4096", "iat": now, "exp": now + 3600} | changes


FORGED = {
    "text": "garbage",
    "dots": "...",
    "three parts": "a.b.c",
    "long": "x" * 20_000,
    "alg none": _unsigned(_claims(), {"alg": "none", "typ": "JWT"}),
    "alg None": _unsigned(_claims(), {"alg": "None"}),
    "alg absent": _unsigned(_claims(), {}),
    "alg a list": _unsigned(_claims(), {"alg": ["HS256"]}),
    "wrong secret": jwt.encode(_claims(), "another secret, and a long one it is", algorithm="HS256"),
    "wrong algorithm": jwt.encode(_claims(), "another secret, and a long one it is" * 2, algorithm="HS512"),
    "huge sub": jwt.encode(_claims(sub="9" * 400), "another secret, and a long one it is", algorithm="HS256"),
}


@pytest.mark.parametrize(("method", "path"), NEEDS_TOKEN)
def test_without_a_token_401_says_that_it_is_missing(api: Api, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic dTpw"}, {"Authorization": "Tokenx"}):
        response = api.call(method, path, headers=headers)
        assert response.status_code == 401
        assert response.json() == MISSING
        assert response.headers["www-authenticate"] == "Token"


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_401_everywhere(api: Api, token: str) -> None:
    caller = Caller(api.http, token)
    for method, path in [*NEEDS_TOKEN, *(("GET", path) for path in OPEN if path != "/tags")]:
        response = caller.call(method, path)
        assert response.status_code == 401
        assert list(errors(response)) == ["token"]


@pytest.mark.parametrize("path", OPEN)
def test_open_routes_need_no_token(api: Api, path: str) -> None:
    assert api.call("GET", path).status_code in (200, 404)


def test_a_tampered_token_is_refused(api: Api, jo: Person) -> None:
    head, body, signature = (jo.token or "").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = str(int(claims["sub"]) + 64)
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    for token in (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}."):
        assert Caller(api.http, token).get("/user").status_code == 401


@pytest.mark.parametrize("scheme", ["Token", "Bearer"])
def test_a_valid_token_is_read_in_both_schemes(api: Api, jo: Person, scheme: str) -> None:
    response = api.call("GET", "/user", headers={"Authorization": f"{scheme} {jo.token}"})
    assert response.json()["user"]["username"] == jo.username


@pytest.mark.parametrize("blank", ["\xa0", "\x85"])
def test_what_is_no_blank_of_http_belongs_to_the_token(api: Api, jo: Person, blank: str) -> None:
    value = f"Token {blank}{jo.token}".encode("latin-1")
    assert api.http.get("/api/user", headers={b"Authorization": value}).status_code == 401


def test_odd_bytes_in_the_header_are_401(api: Api) -> None:
    for value in (b"Token \xff\xfe", b"Token a\tb", "Token é.è.à".encode()):
        response = api.http.get("/api/user", headers={b"Authorization": value})
        assert response.status_code == 401
