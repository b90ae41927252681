"""A client of the API, over HTTP only: people who sign up, write and read."""

import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from conduit.ids import shard_of

PASSWORD = "correct horse battery"
# The timeout for tasks that are done after the response, on boxes that are busy with other tests.
SETTLED_WITHIN_SECONDS = 60
_QUERIES = re.compile(r'desc="(\d+) queries"')


def fresh(prefix: str = "p") -> str:
    """A unique name, so that the suite may run against a stage that is in use."""
    return f"{prefix}{secrets.token_hex(6)}"


def errors(response: httpx.Response) -> dict[str, list[str]]:
    """The errors of a response, after a check that it has the API's shape."""
    body = response.json()
    assert list(body) == ["errors"], body
    found: dict[str, list[str]] = body["errors"]
    assert found
    assert all(isinstance(texts, list) and texts and all(isinstance(t, str) for t in texts) for texts in found.values())
    return found


def queries(response: httpx.Response) -> int:
    """The number of queries in the response's Server-Timing."""
    match = _QUERIES.search(response.headers["server-timing"])
    assert match, response.headers["server-timing"]
    return int(match.group(1))


def boundaries(response: httpx.Response) -> set[str]:
    """The names in the response's Server-Timing."""
    return {entry.split(";")[0].strip() for entry in response.headers["server-timing"].split(",")}


@dataclass
class Caller:
    """A caller of the API, with or without a token."""

    http: httpx.Client
    token: str | None = None

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = dict(arguments.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Token {self.token}")
        return self.http.request(method, f"/api{path}", headers=headers, **arguments)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.call("GET", path, params=parameters)

    def post(self, path: str, json: Any = None) -> httpx.Response:
        return self.call("POST", path, json=json)

    def put(self, path: str, json: Any) -> httpx.Response:
        return self.call("PUT", path, json=json)

    def delete(self, path: str) -> httpx.Response:
        return self.call("DELETE", path)

    def articles(self, **filters: Any) -> tuple[list[str], int]:
        """The slugs of a list, and its total."""
        return _listed(self.get("/articles", **filters))

    def feed(self, **page: Any) -> tuple[list[str], int]:
        return _listed(self.get("/articles/feed", **page))

    def article(self, slug: str) -> dict[str, Any]:
        response = self.get(f"/articles/{slug}")
        assert response.status_code == 200, response.text
        article: dict[str, Any] = response.json()["article"]
        return article


@dataclass
class Person(Caller):
    username: str = ""
    email: str = ""

    def publish(self, title: str = "How to train your dragon", **changes: Any) -> dict[str, Any]:
        """Publish an article. Returns the API's article."""
        draft = {"title": title, "description": "Ever wonder how?", "body": "You have to believe", "tagList": []}
        response = self.post("/articles", {"article": draft | changes})
        assert response.status_code == 201, response.text
        article: dict[str, Any] = response.json()["article"]
        return article

    def slug(self, title: str = "How to train your dragon", **changes: Any) -> str:
        slug: str = self.publish(title, **changes)["slug"]
        return slug

    def comment(self, slug: str, body: str = "Thank you!") -> dict[str, Any]:
        response = self.post(f"/articles/{slug}/comments", {"comment": {"body": body}})
        assert response.status_code == 201, response.text
        comment: dict[str, Any] = response.json()["comment"]
        return comment

    def upload(self, slug: str, image: bytes | Iterable[bytes]) -> httpx.Response:
        """Give an article a cover."""
        return self.call("PUT", f"/articles/{slug}/cover", content=image)

    def cover(self, slug: str, image: bytes | Iterable[bytes]) -> dict[str, str]:
        """Give an article a cover. Returns the cover once it is no longer pending."""
        response = self.upload(slug, image)
        assert response.status_code == 200, response.text
        return self.settled_cover(slug, response.json()["article"]["cover"])

    def settled_cover(self, slug: str, cover: dict[str, str]) -> dict[str, str]:
        """An article's cover once it is "ready" or "failed". ``cover`` is its last known state."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while cover["state"] == "pending":
            assert time.monotonic() < deadline, "nobody makes this cover"
            time.sleep(0.05)
            cover = self.article(slug)["cover"]
        return cover

    def report(self) -> dict[str, Any]:
        """A new report on one's own audience, once it is no longer pending."""
        response = self.post("/user/reports")
        assert response.status_code == 201, response.text
        report: dict[str, Any] = response.json()["report"]
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while report["state"] == "pending":
            assert time.monotonic() < deadline, "nobody makes this report"
            time.sleep(0.05)
            report = self.get(f"/user/reports/{report['id']}").json()["report"]
        return report

    def follow(self, other: "Person") -> None:
        assert self.post(f"/profiles/{quote(other.username, safe='')}/follow").status_code == 200

    def favorite(self, slug: str) -> None:
        assert self.post(f"/articles/{slug}/favorite").status_code == 200


class Api(Caller):
    """The API without a token. Signs people up."""

    def sign_up(self, username: str | None = None, email: str | None = None) -> Person:
        name = fresh() if username is None else username
        address = f"{fresh()}@example.com" if email is None else email
        response = self.post("/users", {"user": {"username": name, "email": address, "password": PASSWORD}})
        assert response.status_code == 201, response.text
        user = response.json()["user"]
        return Person(self.http, user["token"], user["username"], user["email"])

    def author_on(self, shards: range, **article: Any) -> tuple[Person, str]:
        """Somebody on one of these logical shards, with an article."""
        while True:
            author = self.sign_up()
            slug = author.slug(**article)
            if shard_of(id_of(slug)) in shards:
                return author, slug

    def log_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/users/login", {"user": {"email": email, "password": password}})


def _listed(response: httpx.Response) -> tuple[list[str], int]:
    assert response.status_code == 200, response.text
    body = response.json()
    return [article["slug"] for article in body["articles"]], body["articlesCount"]


def id_of(slug: str) -> int:
    """The article's id, at the end of its slug."""
    return int(slug.rpartition("-")[2])
