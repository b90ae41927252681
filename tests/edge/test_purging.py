"""An edit is seen at once: purging by an article's id."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from tests.edge.conftest import Edge, at_a_seconds_start
from tests.edge.origin import Answer, Asked, GoneError, Origin

pytestmark = pytest.mark.docker


def test_a_purge_reaches_every_address_of_an_article_and_nothing_else(edge: Edge, origin: Origin, article: int) -> None:
    addresses = [
        f"/api/articles/x-{article}", f"/api/articles/another-title-{article}", f"/api/articles/{article}?a=1",
        f"/api/articles/x-{article}/comments?limit=21",
    ]  # fmt: skip
    others = [f"/api/articles/x-{article + 10**12}", f"/api/articles/x-1{article}", f"/api/articles?limit={article}"]
    origin.answer = lambda _: Answer("old")
    at_a_seconds_start()
    for path in addresses + others:
        edge.get(path)
    origin.answer = lambda _: Answer("new")
    edge.purge(article)
    assert [edge.get(path).text for path in addresses] == ["new"] * 4
    assert [edge.get(path).text for path in others] == ["old"] * 3


def test_an_answer_that_was_on_its_way_when_the_article_changed_is_not_shown(
    edge: Edge, origin: Origin, article: int
) -> None:
    path = f"/api/articles/x-{article}"
    read, go_on = threading.Event(), threading.Event()

    def old_and_late(_asked: Asked) -> Answer:
        read.set()
        go_on.wait(10)
        return Answer("old")

    origin.answer = old_and_late
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(edge.get, path)
        assert read.wait(5)
        origin.answer = lambda _: Answer("new")
        edge.purge(article)
        assert edge.get(path).text == "new"
        go_on.set()
        assert early.result().text == "old"  # who asked before the change may see what was before
    for _ in range(30):
        assert edge.get(path).text == "new"
        time.sleep(0.05)


def test_each_of_many_edits_is_seen_at_once_while_twenty_read(edge: Edge, origin: Origin, article: int) -> None:
    path = f"/api/articles/x-{article}"
    version = 0

    def as_it_is(_asked: Asked) -> Answer:
        read = version
        time.sleep(0.02)  # between reading and answering, an edit may come
        return Answer(str(read))

    origin.answer = as_it_is
    over = threading.Event()
    past: list[str] = []

    def reader() -> None:
        with httpx.Client(base_url=edge.url, timeout=15) as client:
            while not over.is_set():
                least = seen
                text = client.get(path).text
                if int(text) < least:
                    past.append(f"{text} after {least}")

    seen = 0
    readers = [threading.Thread(target=reader) for _ in range(20)]
    for one in readers:
        one.start()
    try:
        for number in range(1, 16):
            version = number
            edge.purge(article)
            assert int(edge.get(path).text) == number
            seen = number
            time.sleep(0.1)
    finally:
        over.set()
        for one in readers:
            one.join()
    assert past == []


def test_a_purged_article_is_not_brought_back_by_an_origin_that_is_away(
    edge: Edge, origin: Origin, article: int
) -> None:
    path = f"/api/articles/x-{article}"
    edge.get(path)
    edge.purge(article)

    def gone(_asked: Asked) -> Answer:
        raise GoneError

    origin.answer = gone
    assert edge.get(path).status_code == 503


def test_two_purges_in_one_moment_are_two(edge: Edge, origin: Origin, article: int) -> None:
    for number in range(5):
        text = str(number)
        origin.answer = partial(_says, text)
        edge.purge(article)
        assert edge.get(f"/api/articles/{article}").text == text


def _says(text: str, _asked: Asked) -> Answer:
    return Answer(text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/alive", 204), ("POST", "/articles/0", 404), ("POST", "/articles/x-1", 404),
        ("POST", "/articles/", 404), ("POST", f"/articles/{10**16}", 404), ("GET", "/articles/1", 403),
        ("POST", "/kept?article=1", 404), ("GET", "/api/tags", 404), ("GET", "/", 404),
    ],
)  # fmt: skip
def test_the_port_for_purging_does_that_and_nothing_else(edge: Edge, method: str, path: str, status: int) -> None:
    assert edge.status_inside(method, path) == status


def test_it_is_not_for_readers(edge: Edge, origin: Origin, article: int) -> None:
    httpx.post(f"{edge.url}/articles/{article}")
    assert [(asked.method, asked.path) for asked in origin.asked] == [("POST", f"/articles/{article}")]
    try:
        refused = httpx.post(f"http://{edge.address}:8081/articles/{article}", timeout=3)
    except httpx.TransportError:
        return  # this machine does not even get there
    assert refused.status_code == 403
