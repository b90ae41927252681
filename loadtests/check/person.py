"""Somebody who is signed in, over one connection, and remembers what they see."""

import secrets
import time
from collections.abc import Iterable
from typing import Any

import httpx

from loadtests.check.ledger import outcome
from loadtests.check.memory import Memory

PASSWORD = "a password of a check"  # noqa: S105 - of people who are made up
WRITE_SECONDS = 10.0
READ_WITHIN = 60.0
OK, NOT_FOUND = 200, 404
# Of somebody whom the reader knows, or is.
GONE = (401, 404)
DEFAULT_LIMIT = 20
# More than any id: a page that no cache keeps.
PAST_ALL_IDS = 2**53 - 1
# Less than any number of an article or a bio.
NOTHING = -1


class NotReadableError(Exception):
    """What is there could not be read in time: the stage is not well."""


class Person:
    """Signs up when made; raises httpx.HTTPError where that fails."""

    def __init__(self, url: str) -> None:
        self.name = f"check-{secrets.token_hex(6)}"
        self.email = f"{self.name}@example.com"
        self.memory = Memory()
        self._http = httpx.Client(base_url=url, timeout=WRITE_SECONDS)
        user = {"username": self.name, "email": self.email, "password": PASSWORD}
        answer = self._http.post("/api/users", json={"user": user}).raise_for_status()
        # Also past what an edge keeps: whoever is signed in sees the stage itself.
        self._http.headers["Authorization"] = f"Token {answer.json()['user']['token']}"

    def follow(self, name: str) -> None:
        """Follow somebody. Raises httpx.HTTPError."""
        self._http.post(f"/api/profiles/{name}/follow").raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _send(
        self, method: str, path: str, body: Any = None, content: bytes | None = None, seconds: float = WRITE_SECONDS
    ) -> httpx.Response | None:
        """The answer; None where none came."""
        try:
            return self._http.request(method, path, json=body, content=content, timeout=seconds)
        except httpx.HTTPError:
            return None

    @staticmethod
    def _told(answer: httpx.Response | None) -> str:
        return outcome(None if answer is None else answer.status_code)

    def _read(self, path: str, **parameters: Any) -> Any:
        """The answer's JSON; None where the stage says that this is not there. Raises NotReadableError."""
        deadline = time.monotonic() + READ_WITHIN
        while True:
            try:
                answer = self._http.get(path, params=parameters)
                return None if answer.status_code == NOT_FOUND else answer.raise_for_status().json()
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise NotReadableError(f"{path} could not be read within {READ_WITHIN:.0f} s: {error}") from error
                time.sleep(1)

    # Looks, while faults are caused: what was wrong is noted ----------------------------------------------

    def _look(self, kind: str, path: str, **parameters: Any) -> Any:
        """The answer's JSON; None where none came, or only a part of it, or where it is not there, which is noted."""
        try:
            answer = self._http.get(path, params=parameters)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code in GONE:
            self.memory.missed(kind, path)
            return None
        if answer is None or answer.status_code != OK or "x-partial" in answer.headers:
            self.memory.saw_nothing(kind)
            return None
        return answer.json()

    def look_at_bio(self, name: str, kind: str) -> None:
        """The number in somebody's bio."""
        if found := self._look(kind, f"/api/profiles/{name}"):
            self.memory.saw(kind, f"bio of {name}", number_in(found["profile"]["bio"]), cached=True)

    def look_at_list(self, kind: str, path: str, names: Iterable[str], *, cached: bool, **parameters: Any) -> list[str]:
        """The number of each one's newest article in a list. Returns all titles."""
        found = self._look(kind, path, **parameters | ({} if cached else {"before": PAST_ALL_IDS}))
        titles: list[str] = [] if found is None else [article["title"] for article in found["articles"]]
        for name in names if found is not None else ():
            numbers = [number_in(title) for title in titles if title.startswith(f"{name}-")]
            if not numbers and len(titles) >= parameters.get("limit", DEFAULT_LIMIT):
                continue  # others have written so much since
            self.memory.saw(kind, f"articles of {name}", max(numbers, default=NOTHING), cached=cached)
        return titles


def number_in(text: str | None) -> int:
    """The one at a text's end, after a hyphen or alone; NOTHING without one."""
    last = (text or "").rpartition("-")[2]
    return int(last) if last.isdecimal() else NOTHING
