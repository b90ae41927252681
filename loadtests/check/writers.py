"""People who write until they are told to stop, and note what they were told; then they look at what is there."""

import io
import itertools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
SETTLED_WITHIN = 120.0
# So that none of a writer's reports is one too many (docs/app.md).
MOST_REPORTS = 5
NOT_FOUND = 404


class NotReadableError(Exception):
    """What is there could not be read in time: the stage is not well."""


class Writer:
    """One person, over one connection. Signs up when made; raises httpx.HTTPError where that fails."""

    def __init__(self, url: str) -> None:
        self.name = f"check-{secrets.token_hex(6)}"
        self.creations: list[Creation] = []
        self.changes: list[Change] = []
        self._http = httpx.Client(base_url=url, timeout=WRITE_SECONDS)
        self.email = f"{self.name}@example.com"
        user = {"username": self.name, "email": self.email, "password": PASSWORD}
        answer = self._http.post("/api/users", json={"user": user}).raise_for_status()
        # Also past what an edge keeps: a writer sees the stage itself.
        self._http.headers["Authorization"] = f"Token {answer.json()['user']['token']}"
        self._slugs: list[str] = []
        self._reports: list[str] = []
        self._numbers = itertools.count()

    def write(self, hang_up: bool = False) -> None:
        """One round: an article, a comment on it, a favourite set or taken back; now and then a cover or a report.

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
        if number % 7 == 0 and len(self._reports) < MOST_REPORTS:
            self._ask_for_a_report()

    def _ask_for_a_report(self) -> None:
        answer = self._send("POST", "/api/user/reports")
        told = self._told(answer)
        if answer is not None and told == ACKNOWLEDGED:
            self._reports.append(str(answer.json()["report"]["id"]))
            self.changes.append(Change("report", self._reports[-1], "ready", told))

    def there(self) -> Counter[str]:
        """How often each of this writer's articles and comments is there. Raises NotReadableError."""
        found: Counter[str] = Counter()
        for page in itertools.count():
            listed = self._read("/api/articles", author=self.name, limit=PAGE, offset=page * PAGE)["articles"]
            found.update(article["title"] for article in listed)
            if len(listed) < PAGE:
                break
        for slug in self._slugs:
            comments = self._read(f"/api/articles/{slug}/comments") or {"comments": []}
            found.update(one["body"] for one in comments["comments"])
        return found

    def shown(self) -> dict[tuple[str, str], Any]:
        """The favourites, covers and reports that are there once none is pending, or None. Raises NotReadableError."""
        values: dict[tuple[str, str], Any] = {}
        deadline = time.monotonic() + SETTLED_WITHIN
        for slug in self._slugs:
            article = self._settled(f"/api/articles/{slug}", "article", deadline)
            values["favourite", slug] = article.get("favorited") or None
            values["cover", slug] = _ready(article.get("cover"))
        for report in self._reports:
            values["report", report] = _ready(self._settled(f"/api/user/reports/{report}", "report", deadline))
        return values

    def _settled(self, path: str, what: str, deadline: float) -> dict[str, Any]:
        """An article or a report, once neither it nor its cover is pending, or the deadline is over. Empty where it is
        not there.
        """
        while True:
            found: dict[str, Any] = (self._read(path) or {what: {}})[what]
            if "pending" not in (found.get("state"), (found.get("cover") or {}).get("state")):
                return found
            if time.monotonic() > deadline:
                return found
            time.sleep(1)

    def follow(self, name: str) -> None:
        """Follow somebody. Raises httpx.HTTPError."""
        self._http.post(f"/api/profiles/{name}/follow").raise_for_status()

    def mails(self) -> list[Creation]:
        """What a follower was promised with each article, by its subject."""
        articles = (one for one in self.creations if one.kind == "article")
        return [Creation("mail", f"{self.name} published: {one.key}", one.outcome) for one in articles]

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


class Reader:
    """Somebody who follows writers, and gets a mail about each article. Raises httpx.HTTPError where that fails."""

    def __init__(self, url: str, mail_url: str, writers: Sequence[Writer]) -> None:
        self._mail_url = mail_url
        self._own = Writer(url)
        for writer in writers:
            self._own.follow(writer.name)

    def mails(self, promised: Collection[str]) -> Counter[str]:
        """How often each mail is there, by its subject, once those that were promised are, or the deadline is over.

        Raises NotReadableError.
        """
        deadline = time.monotonic() + SETTLED_WITHIN
        while True:
            found = self._found()
            if all(found[subject] for subject in promised) or time.monotonic() > deadline:
                return found
            time.sleep(1)

    def close(self) -> None:
        self._own.close()

    def _found(self) -> Counter[str]:
        found: Counter[str] = Counter()
        before: dict[str, str] = {}
        with httpx.Client(base_url=self._mail_url, timeout=WRITE_SECONDS) as http:
            while True:
                try:
                    asked = http.get("/api/messages", params={"to": self._own.email} | before)
                    messages = asked.raise_for_status().json()["messages"]
                except httpx.HTTPError as error:
                    raise NotReadableError(f"The mail server does not answer: {error}") from error
                if not messages:
                    return found
                found.update(message["subject"] for message in messages)
                before = {"before": str(messages[-1]["number"])}


def _ready(what: Mapping[str, Any] | None) -> str | None:
    return "ready" if what and what.get("state") == "ready" else None


def _picture() -> bytes:
    """A small picture that no article has as its cover yet."""
    made = io.BytesIO()
    Image.frombytes("RGB", (8, 8), secrets.token_bytes(3 * 64)).save(made, "PNG")
    return made.getvalue()


@contextmanager
def writing(writers: Sequence[Writer], hang_up: bool = False) -> Iterator[None]:
    """All of them write meanwhile, each in a thread. With ``hang_up`` they do so at every other article.

    Raises what one of them raised, which has stopped writing then.
    """
    over = threading.Event()

    def write(writer: Writer) -> None:
        for number in itertools.count():
            writer.write(hang_up=hang_up and number % 2 == 1)
            if over.wait(PAUSE_SECONDS):
                return

    with ThreadPoolExecutor(len(writers)) as threads:
        under_way = [threads.submit(write, writer) for writer in writers]
        try:
            yield
        finally:
            over.set()
        for one in under_way:
            one.result()
