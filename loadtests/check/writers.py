"""People who write until they are told to stop, and note what they were told; then they look at what is there."""

import io
import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from PIL import Image

from loadtests.check.ledger import ACKNOWLEDGED, UNKNOWN, Change, Creation, outcome

PASSWORD = "a password of a check"  # noqa: S105 - of people who are made up
WRITE_SECONDS = 10.0
# Between two writes of one writer: they are there to see what becomes of writes, not to load the stage.
PAUSE_SECONDS = 0.05
PAGE = 100
READ_WITHIN = 60.0
COVERS_WITHIN = 120.0


class NotReadableError(Exception):
    """What is there could not be read in time: the stage is not well."""


class Writer:
    """One person, over one connection. Signs up when made; raises httpx.HTTPError where that fails."""

    def __init__(self, url: str) -> None:
        self.name = f"check-{secrets.token_hex(6)}"
        self.creations: list[Creation] = []
        self.changes: list[Change] = []
        self._http = httpx.Client(base_url=url, timeout=WRITE_SECONDS)
        user = {"username": self.name, "email": f"{self.name}@example.com", "password": PASSWORD}
        answer = self._http.post("/api/users", json={"user": user}).raise_for_status()
        # Also past what an edge keeps: a writer sees the stage itself.
        self._http.headers["Authorization"] = f"Token {answer.json()['user']['token']}"
        self._slugs: list[str] = []
        self._numbers = itertools.count()

    def write(self, hang_up: bool = False) -> None:
        """One round: an article, a comment on it, a favourite set and perhaps taken back, now and then a cover.

        With ``hang_up`` the article is sent and its answer is not waited for.
        """
        number = next(self._numbers)
        title = f"{self.name}-{number}"
        draft = {"title": title, "description": "of a check", "body": "See the title.", "tagList": []}
        answer = self._send("POST", "/api/articles", {"article": draft}, seconds=0.005 if hang_up else WRITE_SECONDS)
        told = self._told(answer)
        self.creations.append(Creation("article", title, told))
        if answer is None or told != ACKNOWLEDGED:
            return
        slug: str = answer.json()["article"]["slug"]
        comment = f"{self.name} says {number}"
        said = self._send("POST", f"/api/articles/{slug}/comments", {"comment": {"body": comment}})
        self.creations.append(Creation("comment", comment, self._told(said)))
        self._slugs.append(slug)
        for method, value in (("POST", True), ("DELETE", None))[: 1 + number % 2]:
            told = self._told(self._send(method, f"/api/articles/{slug}/favorite"))
            self.changes.append(Change("favourite", slug, value, told))
            if told == UNKNOWN:
                break  # it may still come, after whatever would follow
        if number % 5 == 0:
            told = self._told(self._send("PUT", f"/api/articles/{slug}/cover", content=_picture()))
            self.changes.append(Change("cover", slug, "ready", told))

    def there(self) -> Counter[str]:
        """How often each of this writer's articles and comments is there. Raises NotReadableError."""
        found: Counter[str] = Counter()
        for page in itertools.count():
            listed = self._read("/api/articles", author=self.name, limit=PAGE, offset=page * PAGE)["articles"]
            found.update(article["title"] for article in listed)
            if len(listed) < PAGE:
                break
        for slug in self._slugs:
            found.update(one["body"] for one in self._read(f"/api/articles/{slug}/comments")["comments"])
        return found

    def shown(self) -> dict[tuple[str, str], Any]:
        """The favourites and covers that are there, once no cover is pending; else None. Raises NotReadableError."""
        values: dict[tuple[str, str], Any] = {}
        deadline = time.monotonic() + COVERS_WITHIN
        for slug in self._slugs:
            while True:
                article = self._read(f"/api/articles/{slug}")["article"]
                state = (article.get("cover") or {}).get("state")
                if state != "pending" or time.monotonic() > deadline:
                    break
                time.sleep(1)
            values["favourite", slug] = article["favorited"] or None
            values["cover", slug] = state if state == "ready" else None
        return values

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
        deadline = time.monotonic() + READ_WITHIN
        while True:
            try:
                return self._http.get(path, params=parameters).raise_for_status().json()
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise NotReadableError(f"{path} could not be read within {READ_WITHIN:.0f} s: {error}") from error
                time.sleep(1)


def _picture() -> bytes:
    """A small picture that no article has as its cover yet."""
    made = io.BytesIO()
    Image.frombytes("RGB", (8, 8), secrets.token_bytes(3 * 64)).save(made, "PNG")
    return made.getvalue()


@contextmanager
def writing(writers: Sequence[Writer], hang_up: bool = False) -> Iterator[None]:
    """All of them write meanwhile, each in a thread. With ``hang_up`` they do so at every other article."""
    over = threading.Event()

    def write(writer: Writer) -> None:
        for number in itertools.count():
            writer.write(hang_up=hang_up and number % 2 == 1)
            if over.wait(PAUSE_SECONDS):
                return

    threads = [threading.Thread(target=write, args=(writer,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
