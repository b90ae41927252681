"""Warms what a stage caches, so that it is measured as a site that has run for a day, and not as one that just began.

Read once, as fast as the stage answers: the lists, then articles, their comments and authors, the most popular first.
What is popular is so by the same law as in the mixes. Nobody in particular reads, but for the articles: each is read by
the next of all users, so that who has been there is known, too.
"""

import time
from collections.abc import Iterator
from itertools import cycle, islice, zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gevent

from loadtests.load.dataset import Dataset
from loadtests.load.mixes.actions import PAGE, Request

if TYPE_CHECKING:
    from loadtests.load.sender import Sender

READERS = 8
# A fifth of a hundred thousand articles gets four fifths of their reads. Of the users that are sampled, half.
ARTICLES, AUTHORS = 20_000, 10_000
HOME_PAGES = 5


def requests(data: Dataset) -> Iterator[Request]:
    """What is read, in this order."""
    yield _read("GET /api/tags", "/api/tags")
    for page in range(HOME_PAGES):
        yield _read("GET /api/articles", f"/api/articles?limit={PAGE}&offset={page * PAGE}")
    for tag in data.tags:
        yield _read("GET /api/articles?tag", f"/api/articles?limit={PAGE}&offset=0&tag={quote(tag, safe='')}")
    articles, authors = islice(data.articles, ARTICLES), islice(data.users, AUTHORS)
    readers = cycle(data.users)
    for article, author in zip_longest(articles, authors):
        if article:
            path = f"/api/articles/{quote(article.slug, safe='')}"
            yield _read("GET /api/articles/{slug}", path, data.token(next(readers)))
            yield _read("GET /api/articles/{slug}/comments", f"{path}/comments")
        if author:
            yield _read("GET /api/profiles/{username}", f"/api/profiles/{quote(author.username, safe='')}")


def warm(sender: "Sender", data: Dataset, seconds: float) -> dict[str, Any]:
    """Read it all, or for so many seconds. Returns how many requests were sent and failed, and whether that was all."""
    began = time.perf_counter()
    left = requests(data)
    sent = failed = 0
    is_whole = False

    def read() -> None:
        nonlocal sent, failed, is_whole
        while time.perf_counter() - began < seconds:
            request = next(left, None)
            if request is None:
                is_whole = True
                return
            sample, _ = sender.send(request, time.perf_counter())
            sent += 1
            failed += bool(sample.error)

    gevent.joinall([gevent.spawn(read) for _ in range(READERS)], raise_error=True)
    took = round(time.perf_counter() - began, 1)
    return {"sent": sent, "failed": failed, "whole": is_whole, "seconds": took}


def _read(route: str, path: str, token: str | None = None) -> Request:
    return Request(route, "GET", path, token)
