"""People who write until they are told to stop, and note what they were told, and people who watch them; then they look
at what is there.
"""

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

from loadtests.check.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Change, Creation
from loadtests.check.person import PASSWORD, WRITE_SECONDS, NotReadableError, Person, number_in

# Between two writes of one writer: they are there to see what becomes of writes, not to load the stage.
PAUSE_SECONDS = 0.05
PAGE = 100
SETTLED_WITHIN = 120.0
# So that none of a writer's reports is one too many (docs/app.md).
MOST_REPORTS = 5
# A name costs a password hash.
ROUNDS_PER_NAME = 15


class Writer(Person):
    """Writes, and looks at once whether it is there. ``wanted`` begins the names that all writers try to take."""

    def __init__(self, url: str, wanted: str = "") -> None:
        super().__init__(url)
        self.creations: list[Creation] = []
        self.changes: list[Change] = []
        self._wanted = wanted
        self._slugs: list[str] = []
        self._reports: list[str] = []
        self._numbers = itertools.count()

    def write(self, hang_up: bool = False) -> None:
        """One round: an article, a comment on it, a favourite set or taken back; now and then a cover, a report, a bio,
        a name. Then a look at what is there by now.

        With ``hang_up`` the article is sent and its answer is not waited for.
        """
        number = next(self._numbers)
        self._write(number, hang_up)
        if number % 3 == 0:
            bio = {"user": {"bio": f"Number-{number}"}}
            if self._told(self._send("PUT", "/api/user", bio)) == ACKNOWLEDGED:
                self.memory.wrote(f"bio of {self.name}", number)
        if self._wanted and number % ROUNDS_PER_NAME == 0:
            self._take(f"{self._wanted}-{number}")
        self._look_back()

    def _write(self, number: int, hang_up: bool) -> None:
        title = f"{self.name}-{number}"
        draft = {"title": title, "description": "of a check", "body": "See the title.", "tagList": []}
        answer = self._send("POST", "/api/articles", {"article": draft}, seconds=0.005 if hang_up else WRITE_SECONDS)
        told = self._told(answer)
        self.creations.append(Creation("article", title, told))
        if answer is None or told != ACKNOWLEDGED:
            return
        self.memory.wrote(f"articles of {self.name}", number)
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

    def _take(self, name: str) -> None:
        """Sign somebody up by a name that the others try to take as well: one of them gets it."""
        user = {"username": name, "email": f"{secrets.token_hex(6)}@example.com", "password": PASSWORD}
        told = self._told(self._send("POST", "/api/users", {"user": user}))
        if told != REFUSED:
            self.creations.append(Creation("name", name, told))

    def _look_back(self) -> None:
        """What an author sees of the author's own: from the cache, and where nothing is kept."""
        self.look_at_bio(self.name, "own profile")
        if found := self._look("own user", "/api/user"):
            self.memory.saw("own user", f"bio of {self.name}", number_in(found["user"]["bio"]), cached=False)
        for kind, cached in (("own list", True), ("own list, not cached", False)):
            titles = self.look_at_list(kind, "/api/articles", [self.name], cached=cached, author=self.name)
            for title in titles:
                if not title.startswith(f"{self.name}-"):
                    self.memory.saw_foreign(kind, title)

    def there(self) -> Counter[str]:
        """How often each of this writer's articles, comments and names is there. Raises NotReadableError."""
        # Everybody who was given a name has it.
        given = (one.key for one in self.creations if one.kind == "name" and one.outcome == ACKNOWLEDGED)
        found = Counter(name for name in given if self._read(f"/api/profiles/{name}"))
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

    def mails(self) -> list[Creation]:
        """What a follower was promised with each article, by its subject."""
        articles = (one for one in self.creations if one.kind == "article")
        return [Creation("mail", f"{self.name} published: {one.key}", one.outcome) for one in articles]


class Watcher(Person):
    """Follows writers, and looks again and again at what they write. Raises httpx.HTTPError where following fails."""

    def __init__(self, url: str, writers: Sequence[Writer]) -> None:
        super().__init__(url)
        self._names = [writer.name for writer in writers]
        for name in self._names:
            self.follow(name)

    def look(self) -> None:
        """One round: everything in which one sees what others write."""
        for name in self._names:
            self.look_at_bio(name, "others' profiles")
        self.look_at_list("newest articles", "/api/articles", self._names, cached=True, limit=PAGE)
        self.look_at_list("newest, not cached", "/api/articles", self._names, cached=False, limit=PAGE)
        self.look_at_list("feed", "/api/articles/feed", self._names, cached=False, limit=PAGE)


class Reader(Person):
    """Follows writers, and gets a mail about each article. Raises httpx.HTTPError where following fails."""

    def __init__(self, url: str, mail_url: str, writers: Sequence[Writer]) -> None:
        super().__init__(url)
        self._mail_url = mail_url
        for writer in writers:
            self.follow(writer.name)

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

    def _found(self) -> Counter[str]:
        found: Counter[str] = Counter()
        before: dict[str, str] = {}
        with httpx.Client(base_url=self._mail_url, timeout=WRITE_SECONDS) as http:
            while True:
                try:
                    asked = http.get("/api/messages", params={"to": self.email} | before)
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
def writing(writers: Sequence[Writer], hang_up: bool = False, watchers: Sequence[Watcher] = ()) -> Iterator[None]:
    """All of them write, and the others watch meanwhile, each in a thread. With ``hang_up`` the writers do so at every
    other article.

    Raises what one of them raised, which has stopped then.
    """
    over = threading.Event()

    def write(writer: Writer) -> None:
        for number in itertools.count():
            writer.write(hang_up=hang_up and number % 2 == 1)
            if over.wait(PAUSE_SECONDS):
                return

    def watch(watcher: Watcher) -> None:
        while not over.wait(PAUSE_SECONDS):
            watcher.look()

    with ThreadPoolExecutor(len(writers) + len(watchers)) as threads:
        under_way = [threads.submit(write, writer) for writer in writers]
        under_way += [threads.submit(watch, watcher) for watcher in watchers]
        try:
            yield
        finally:
            over.set()
        for one in under_way:
            one.result()
