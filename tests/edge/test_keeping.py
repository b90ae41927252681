"""What the edge keeps and for how long, that one asks for all, and what it shows with the origin away."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.edge.conftest import Edge, at_a_seconds_start, ids
from tests.edge.origin import FOREVER, Answer, Asked, GoneError, Origin, as_the_app

pytestmark = pytest.mark.docker

# Seconds that an answer of the API is shown for: NGINX counts whole ones, so that one is up to two, and one of grace.
NEVER_LONGER_THAN = 3.0
PAGES_NEVER_LONGER_THAN = 10.0
# After an answer that did not come in time.
LEFT_ALONE = 2.0


def is_away(_asked: Asked) -> Answer:
    raise GoneError


@dataclass(frozen=True)
class Kept:
    """What the edge answered at some paths, and the time on the monotonic clock when it had them."""

    shown: dict[str, str]
    since: float

    def wait_until_old(self) -> None:
        """Until none of it is shown any more but for trouble of the origin."""
        time.sleep(max(0.0, self.since + PAGES_NEVER_LONGER_THAN + 1 - time.monotonic()))


@pytest.fixture(scope="module", autouse=True)
def kept(edge: Edge, origin_server: Origin) -> dict[str, Kept]:
    """By a page that nobody else here asks for, each with an article, a list and a file of its own.

    Asked for before the first test: by the time of those that want it old there is little left to wait for.
    """
    origin_server.answer = as_the_app
    found = {}
    for page in ("/feed", "/settings", "/editor", "/article/any"):
        number = next(ids)
        paths = (f"/api/articles/x-{number}", f"/api/articles?tag={number}", page, f"/media/{number}.webp")
        found[page] = Kept({path: edge.get(path).text for path in paths}, time.monotonic())
    return found


# For how long --------------------------------------------------------------------------------------------------


def test_an_answer_of_the_api_is_kept_for_a_second(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/api/articles?tag={word}=1"
    at_a_seconds_start()
    first, second = edge.get(path), edge.get(path)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.content == second.content
    assert len(origin.asked) == 1
    time.sleep(NEVER_LONGER_THAN)
    assert edge.get(path).headers["x-cache"] == "EXPIRED"
    assert len(origin.asked) == 2


def test_a_second_old_it_is_shown_while_the_new_one_is_fetched(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/api/articles?tag={word}"
    origin.answer = lambda _: Answer("old")
    at_a_seconds_start()
    edge.get(path)
    origin.answer = lambda _: Answer("new")
    time.sleep(2.1)
    while_fetched = edge.get(path)
    assert (while_fetched.headers["x-cache"], while_fetched.text) == ("STALE", "old")
    time.sleep(0.2)
    assert len(origin.asked_for(word)) == 2
    assert (edge.get(path).headers["x-cache"], edge.get(path).text) == ("HIT", "new")


@pytest.mark.parametrize("idle", [NEVER_LONGER_THAN, NEVER_LONGER_THAN + 2])
def test_what_nobody_asked_for_in_a_while_is_never_shown_as_it_was(
    edge: Edge, origin: Origin, article: int, idle: float
) -> None:
    origin.answer = lambda _: Answer("old")
    edge.get(f"/api/articles/x-{article}")
    origin.answer = lambda _: Answer("new")
    time.sleep(idle)
    assert edge.get(f"/api/articles/x-{article}").text == "new"


def test_no_answer_of_the_api_is_older_than_three_seconds_however_it_is_asked_for(
    edge: Edge, origin: Origin, word: str
) -> None:
    origin.answer = lambda _: Answer(str(time.time()))
    rng = random.Random(4)
    until = time.monotonic() + 8
    oldest = 0.0
    while time.monotonic() < until:
        oldest = max(oldest, time.time() - float(edge.get(f"/api/articles?tag={word}").text))
        time.sleep(rng.choice((0.01, 0.1, 0.7, 1.3, 2.3)))
    assert 0.5 < oldest < NEVER_LONGER_THAN + 0.2


def test_an_article_that_is_not_there_is_remembered_as_shortly(edge: Edge, origin: Origin, article: int) -> None:
    origin.answer = lambda _: Answer('{"errors":{"article":["not found"]}}', 404)
    at_a_seconds_start()
    assert [edge.get(f"/api/articles/{article}").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    origin.answer = lambda _: Answer("here")
    time.sleep(NEVER_LONGER_THAN)
    assert edge.get(f"/api/articles/{article}").text == "here"


def test_what_is_named_by_its_content_is_kept_for_good(edge: Edge, origin: Origin, word: str) -> None:
    for path in (f"/assets/{word}.0123456789ab.js", f"/media/{word}-small.webp"):
        first = edge.get(path)
        time.sleep(2.1)
        second = edge.get(f"{path}?whatever")
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        assert second.headers["cache-control"] == FOREVER
        assert "age" not in first.headers
        assert second.headers["age"] in {"2", "3"}
        assert len(origin.asked_for(path)) == 1


def test_pages_are_kept_for_seconds_and_browsers_ask_again(edge: Edge, origin: Origin) -> None:
    edge.get("/login")
    again = edge.get("/login")
    assert again.headers["x-cache"] == "HIT"
    assert again.headers["cache-control"] == "no-cache"
    known = edge.get("/login", If_None_Match='W/"page"')
    assert (known.status_code, known.content, known.headers["cache-control"]) == (304, b"", "no-cache")
    assert known.headers["etag"] == 'W/"page"'
    assert len(origin.asked_for("login")) <= 1
    origin.answer = lambda _: Answer("a new one", headers={"Cache-Control": "no-cache", "ETag": 'W/"new"'})
    time.sleep(PAGES_NEVER_LONGER_THAN)
    assert edge.get("/login", If_None_Match='W/"page"').text == "a new one"


def test_browsers_keep_nothing_of_the_api(edge: Edge, origin: Origin, word: str) -> None:
    for _ in range(2):
        assert edge.get(f"/api/articles?tag={word}").headers["cache-control"] == "no-store"


# One at a time ---------------------------------------------------------------------------------------------------


def _crowd(edge: Edge, path: str, count: int = 50) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: edge.get(path), range(count)))


@pytest.mark.parametrize(
    ("path", "idle"),
    [
        ("/api/articles/x-{}", 0), ("/api/articles/x-{}", NEVER_LONGER_THAN),
        ("/api/articles?tag={}", 0), ("/api/articles?tag={}", NEVER_LONGER_THAN),
        ("/article/{}", PAGES_NEVER_LONGER_THAN),
    ],
)  # fmt: skip
def test_a_crowd_makes_one_request(
    *, edge: Edge, origin: Origin, kept: dict[str, Kept], article: int, path: str, idle: float
) -> None:
    """Also where it was never asked for before, and where nobody asked for it in so many seconds."""
    path = path.format(article)
    if path.startswith("/article/"):  # one copy serves all of them
        kept["/article/any"].wait_until_old()
    elif idle:
        edge.get(path)
        time.sleep(idle)

    def slowly(asked: Asked) -> Answer:
        time.sleep(0.3)
        return Answer(headers={} if asked.path.startswith("/api/") else {"Cache-Control": "no-cache"})

    origin.answer = slowly
    origin.asked.clear()
    at_a_seconds_start()
    answers = _crowd(edge, path)
    assert {answer.status_code for answer in answers} == {200}
    assert len(origin.asked) == 1


# With the origin away --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trouble", "page"), [("gone", "/feed"), ("refusing", "/settings")])
def test_with_the_origin_away_what_is_kept_is_shown(
    edge: Edge, origin: Origin, kept: dict[str, Kept], trouble: str, page: str
) -> None:
    origin.answer = is_away if trouble == "gone" else lambda _: Answer("busy", 503, {"Retry-After": "1"})
    kept[page].wait_until_old()
    for path, shown in kept[page].shown.items():
        answer = edge.get(path)
        assert (answer.status_code, answer.text) == (200, shown)
        assert answer.headers["x-cache"] == ("HIT" if "/media/" in path else "STALE")
        assert int(answer.headers["age"]) >= PAGES_NEVER_LONGER_THAN
    origin.answer = as_the_app
    for path in kept[page].shown:
        assert edge.get(path).headers["x-cache"] == ("HIT" if "/media/" in path else "EXPIRED")


Hang = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def hang(origin: Origin) -> Hang:
    """Within it the origin takes what it is asked, and says nothing."""

    @contextmanager
    def hang() -> Iterator[None]:
        go_on = threading.Event()

        def answer(asked: Asked) -> Answer:
            go_on.wait(20)
            return as_the_app(asked)

        origin.answer = answer
        try:
            yield
        finally:
            go_on.set()
            origin.answer = as_the_app

    return hang


def test_with_an_origin_that_hangs_what_is_kept_is_shown_within_a_second_and_then_at_once(
    edge: Edge, kept: dict[str, Kept], hang: Hang
) -> None:
    shown = {path: text for path, text in kept["/editor"].shown.items() if "/media/" not in path}
    kept["/editor"].wait_until_old()
    with hang():
        waited = []
        for path in (*shown, *shown):
            started = time.monotonic()
            answer = edge.get(path)
            waited.append(time.monotonic() - started)
            assert (answer.status_code, answer.text, answer.headers["x-cache"]) == (200, shown[path], "STALE")
        assert waited[0] < 1.0
        assert max(waited[1:]) < 0.3, waited
    time.sleep(LEFT_ALONE)
    for path in shown:
        assert edge.get(path).headers["x-cache"] == "EXPIRED"


def test_the_balancers_word_that_the_apps_hang_is_no_answer_of_the_origin(
    edge: Edge, origin: Origin, article: int, hang: Hang
) -> None:
    kept, other = f"/api/articles/x-{article}", f"/api/articles?tag={article}"
    edge.get(kept)
    time.sleep(NEVER_LONGER_THAN + 1)

    def late(asked: Asked) -> Answer:
        return Answer("{}", 504)

    origin.answer = late
    assert edge.get(other).status_code in (503, 504)
    with hang():
        edge.get(kept)  # waits, and then the origin is left alone
        started = time.monotonic()
        assert edge.get(kept).headers["x-cache"] == "STALE"
        assert time.monotonic() - started < 0.3
        origin.answer = late
        edge.get(other)
        started = time.monotonic()
        assert edge.get(kept).headers["x-cache"] == "STALE"
        assert time.monotonic() - started < 0.3, "it is still left alone"


def test_of_many_readers_none_waits_longer_for_an_origin_that_hangs_and_then_one_tries_it(
    edge: Edge, origin: Origin, article: int, hang: Hang
) -> None:
    path = f"/api/articles/x-{article}"
    edge.get(path)
    time.sleep(NEVER_LONGER_THAN + 1)

    def seconds(_: int) -> float:
        started = time.monotonic()
        assert edge.get(path).headers["x-cache"] == "STALE"
        return time.monotonic() - started

    with hang(), ThreadPoolExecutor(20) as readers:
        assert max(readers.map(seconds, range(20))) < 1.3
        for _ in range(2):
            time.sleep(LEFT_ALONE)
            waited = sorted(readers.map(seconds, range(20)))
            assert waited[-1] < 1.0
            assert waited[-2] < 0.3, "one tries it, the others are shown what is there"


def test_one_answer_that_takes_long_does_not_keep_others_from_being_new_nor_itself(
    edge: Edge, origin: Origin, article: int
) -> None:
    slow, other = f"/api/articles?tag={article}", f"/api/articles/x-{article}"
    for path in (slow, other):
        edge.get(path)

    def answer(asked: Asked) -> Answer:
        if "?" in asked.path:
            time.sleep(1.0)
        return as_the_app(asked)

    origin.answer = answer
    time.sleep(NEVER_LONGER_THAN + 1)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(edge.get, slow)
        time.sleep(0.2)
        assert edge.get(other).headers["x-cache"] == "EXPIRED"
        assert waiting.result().headers["x-cache"] == "STALE"
    time.sleep(NEVER_LONGER_THAN + 1)
    assert edge.get(other).headers["x-cache"] == "EXPIRED"
    assert edge.get(slow).headers["x-cache"] == "EXPIRED", "waited for, since it is known to be slow"


def test_with_an_origin_that_is_slow_what_was_never_kept_is_waited_for(
    edge: Edge, origin: Origin, article: int
) -> None:
    def slowly(_: Asked) -> Answer:
        time.sleep(1.5)
        return Answer("late")

    origin.answer = slowly
    assert edge.get(f"/api/articles/x-{article}").text == "late"


def test_with_the_origin_away_and_nothing_kept_the_edge_says_so_as_the_api_does(
    edge: Edge, origin: Origin, article: int
) -> None:
    origin.answer = is_away
    for path in (f"/api/articles/x-{article}", f"/media/{article}.webp", "/health"):
        answer = edge.get(path)
        assert answer.status_code == 503
        assert answer.json()["errors"]["body"]
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-request-id"]
    signed_in = edge.get(f"/api/articles/x-{article}", Authorization="Token x")
    assert (signed_in.status_code, signed_in.headers["retry-after"]) == (503, "1")


def test_what_the_origin_says_of_its_trouble_gets_through(edge: Edge, origin: Origin, article: int) -> None:
    origin.answer = lambda _: Answer("busy, it says", 503, {"Retry-After": "7"})
    answer = edge.get(f"/api/articles/x-{article}")
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (503, "7", "busy, it says")
