"""The requests that mixes are made of.

Each is named for its route, so that figures group by what the app does.
"""

import json
import random
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import quote

from loadtests.load.dataset import PASSWORD, Dataset, User

PAGE = 20
_SENTENCE = (
    "a small box serves more than it seems while the load is even and the queue stays short but when "
    "arrivals outrun service every wait grows and readers leave before the answer comes so measure first "
    "then move one thing"
)
_WORDS = _SENTENCE.split()


JSON = "application/json"


class Request(NamedTuple):
    """One request: ``route`` is what it counts under, ``path`` where it goes, ``body`` what is sent or nothing.

    ``part`` is the part of a mix that it belongs to, so that a trial can leave one out. ``then`` makes, from the
    answer's body, what the same person sends next; the time of all of it together counts under ``journey``.
    """

    route: str
    method: str
    path: str
    token: str | None = None
    body: bytes | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    part: str = "api"
    then: Callable[[bytes], "Request"] | None = None
    journey: str = ""


Action = Callable[[random.Random, Dataset, User | None], Request]


class Choice:
    """Draws actions in proportion to their weights."""

    def __init__(self, weights: Mapping[Action, float]) -> None:
        self._actions = list(weights)
        self._cumulative = list(accumulate(weights.values()))

    def draw(self, rng: random.Random) -> Action:
        """One action."""
        return rng.choices(self._actions, cum_weights=self._cumulative)[0]


def _token(data: Dataset, user: User | None) -> str | None:
    return data.token(user) if user else None


def _signed_in(rng: random.Random, data: Dataset, user: User | None) -> User:
    return user or data.visitor(rng)


def home(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """The newest articles: the first page four times in five, else one of the next four."""
    page = 0 if rng.random() < 0.8 else rng.randint(1, 4)
    path = f"/api/articles?limit={PAGE}&offset={page * PAGE}"
    return Request("GET /api/articles", "GET", path, _token(data, user))


def by_tag(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """The newest articles of a tag, tags by popularity."""
    path = f"/api/articles?limit={PAGE}&offset=0&tag={quote(data.tag(rng), safe='')}"
    return Request("GET /api/articles?tag", "GET", path, _token(data, user))


def article(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """One article, by popularity."""
    path = f"/api/articles/{quote(data.slug(rng), safe='')}"
    return Request("GET /api/articles/{slug}", "GET", path, _token(data, user))


def comments(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """An article's comments."""
    path = f"/api/articles/{quote(data.slug(rng), safe='')}/comments"
    return Request("GET /api/articles/{slug}/comments", "GET", path, _token(data, user))


def profile(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """A user's profile, users by popularity."""
    path = f"/api/profiles/{quote(data.author(rng).username, safe='')}"
    return Request("GET /api/profiles/{username}", "GET", path, _token(data, user))


def feed(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """The newest articles of those whom a user follows: the first page nine times in ten, else the second."""
    page = 0 if rng.random() < 0.9 else 1
    path = f"/api/articles/feed?limit={PAGE}&offset={page * PAGE}"
    return Request("GET /api/articles/feed", "GET", path, data.token(_signed_in(rng, data, user)))


def favorite(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """An article marked as favourite, or, one time in four, the mark taken back."""
    method = "POST" if rng.random() < 0.75 else "DELETE"
    path = f"/api/articles/{quote(data.slug(rng), safe='')}/favorite"
    token = data.token(_signed_in(rng, data, user))
    return Request(f"{method} /api/articles/{{slug}}/favorite", method, path, token)


def follow(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """Somebody else followed, or, one time in four, no longer."""
    me = _signed_in(rng, data, user)
    other = data.author(rng)
    while other.id == me.id:
        other = data.visitor(rng)
    method = "POST" if rng.random() < 0.75 else "DELETE"
    path = f"/api/profiles/{quote(other.username, safe='')}/follow"
    return Request(f"{method} /api/profiles/{{username}}/follow", method, path, data.token(me))


def comment(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """A comment of one or two sentences."""
    path = f"/api/articles/{quote(data.slug(rng), safe='')}/comments"
    body = {"comment": {"body": _text(rng, rng.randint(8, 30))}}
    token = data.token(_signed_in(rng, data, user))
    return Request("POST /api/articles/{slug}/comments", "POST", path, token, json.dumps(body).encode())


def publish(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """An article of 150 to 400 words with two tags."""
    draft = {
        "title": _text(rng, rng.randint(4, 8)),
        "description": _text(rng, 12),
        "body": _text(rng, rng.randint(150, 400)),
        "tagList": sorted({data.tag(rng), data.tag(rng)}),
    }
    body = json.dumps({"article": draft}).encode()
    token = data.token(_signed_in(rng, data, user))
    return Request("POST /api/articles", "POST", "/api/articles", token, body)


def report(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """An author's report on their audience."""
    token = data.token(_signed_in(rng, data, user))
    return Request("POST /api/user/reports", "POST", "/api/user/reports", token, part="report")


def with_cover(publishing: Request, photo: bytes) -> Request:
    """A publishing that is followed, once it is answered, by the upload of a photograph as the article's cover.

    Its own part of a mix is ``covered``, that of the upload is ``cover``.
    """

    def upload(answer: bytes) -> Request:
        slug = quote(json.loads(answer)["article"]["slug"], safe="")
        route, path = "PUT /api/articles/{slug}/cover", f"/api/articles/{slug}/cover"
        return Request(route, "PUT", path, publishing.token, photo, "image/jpeg", part="cover")

    return publishing._replace(part="covered", then=upload, journey="publishing with a cover")


def login(rng: random.Random, data: Dataset, user: User | None) -> Request:
    """A sign-in with the right password."""
    body = {"user": {"email": _signed_in(rng, data, user).email, "password": PASSWORD}}
    return Request("POST /api/users/login", "POST", "/api/users/login", None, json.dumps(body).encode())


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words)).capitalize() + "."
