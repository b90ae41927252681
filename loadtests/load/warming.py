"""Warms what a stage caches, so that it is measured as a site that has run for a day, and not as one that just began.

Each is read once, as fast as the apps answer. They are asked directly: what is before them keeps such answers for a
second at most, and a balancer refuses more at once than boxes of their own size can answer in time.

First the lists. Then articles, comments and profiles, in the order of how many of the look-ups of ``browse`` a read
turns into hits: by the mix's own shares, and by the law by which it draws what is read. Whoever signs in has marks to
look up. So the first articles are read by one user each; once all of them have read one, by nobody in particular.

What is read least is left out. By the same laws, with the lists cached, so many of the look-ups of ``browse`` find what
so many reads have put there; of those of ``read-mostly`` the share is the same within 0.1 %:

    reads                           1,000   2,000   4,000  10,000  20,000  30,000  50,000  210,000
    medium, 100,000 articles, in %   52.5    57.2    63.7    79.0    86.0    88.4    91.5      100
    small,   10,000 articles, in %   78.2    85.9    90.1    95.9    99.8       all of it are 21,000

At ``medium`` the marks of 10,000 users are 20 of the first 83 %, which take 12,000 reads. From 30,000 on, where WORTH
ends it, another thousand reads add 0.2 % at most.
"""

import heapq
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import gevent

from loadtests.load.dataset import Dataset
from loadtests.load.mixes import actions, browse
from loadtests.load.mixes.actions import PAGE, Request

if TYPE_CHECKING:
    from loadtests.load.sender import Sender

# Two cores are busy with ten.
READERS = 32
# What is read turns at least so large a share of all look-ups into hits: a thousand reads 0.2 %.
WORTH = 2e-6
HOME_PAGES = 5

# What each hundred requests of browse look up: all reads but the feed once, and those of somebody marks beside it.
_LOOK_UPS_OF_READS = sum(browse.READS.values()) - browse.READS[actions.feed]
_LOOK_UPS_OF_MARKS = browse.readers.signed_in * _LOOK_UPS_OF_READS
_LOOK_UPS = _LOOK_UPS_OF_READS + _LOOK_UPS_OF_MARKS


class Read(NamedTuple):
    """What is read, and the share of all look-ups that it turns into hits."""

    worth: float
    request: Request


def requests(data: Dataset) -> Iterator[Request]:
    """What is read, in this order."""
    yield _read("GET /api/tags", "/api/tags")
    for page in range(HOME_PAGES):
        yield _read("GET /api/articles", f"/api/articles?limit={PAGE}&offset={page * PAGE}")
    for tag in data.tags:
        yield _read("GET /api/articles?tag", f"/api/articles?limit={PAGE}&offset=0&tag={quote(tag, safe='')}")
    yield from (read.request for read in by_worth(data) if read.worth >= WORTH)


def by_worth(data: Dataset) -> Iterator[Read]:
    """All articles, comments and profiles, what is worth most first."""
    return heapq.merge(_articles(data), _comments(data), _profiles(data), key=lambda read: -read.worth)


def warm(senders: Sequence["Sender"], data: Dataset, seconds: float) -> dict[str, Any]:
    """Read it all, or for so many seconds, from where these send in turn. Returns how many requests were sent and
    failed, and whether that was all.
    """
    began = time.perf_counter()
    left = requests(data)
    sent = failed = 0
    is_whole = False

    def read(sender: "Sender") -> None:
        nonlocal sent, failed, is_whole
        while time.perf_counter() - began < seconds:
            request = next(left, None)
            if request is None:
                is_whole = True
                return
            sample, _ = sender.send(request, time.perf_counter())
            sent += 1
            failed += bool(sample.error)

    gevent.joinall([gevent.spawn(read, sender) for sender in islice(cycle(senders), READERS)], raise_error=True)
    took = round(time.perf_counter() - began, 1)
    return {"sent": sent, "failed": failed, "whole": is_whole, "seconds": took}


def _articles(data: Dataset) -> Iterator[Read]:
    # Who is drawn evenly. Some of the heavy readers may not be among the users that were sampled.
    people = list(dict.fromkeys([*data.users, *data.heavy]))
    marks = _LOOK_UPS_OF_MARKS / _LOOK_UPS / len(people)
    for rank, (share, article) in enumerate(data.articles_by_popularity()):
        reader = people[rank] if rank < len(people) else None
        worth = share * browse.READS[actions.article] / _LOOK_UPS + (marks if reader else 0)
        path = f"/api/articles/{quote(article.slug, safe='')}"
        yield Read(worth, _read("GET /api/articles/{slug}", path, data.token(reader) if reader else None))


def _comments(data: Dataset) -> Iterator[Read]:
    for share, article in data.articles_by_popularity():
        path = f"/api/articles/{quote(article.slug, safe='')}/comments"
        worth = share * browse.READS[actions.comments] / _LOOK_UPS
        yield Read(worth, _read("GET /api/articles/{slug}/comments", path))


def _profiles(data: Dataset) -> Iterator[Read]:
    for share, author in data.authors_by_popularity():
        path = f"/api/profiles/{quote(author.username, safe='')}"
        worth = share * browse.READS[actions.profile] / _LOOK_UPS
        yield Read(worth, _read("GET /api/profiles/{username}", path))


def _read(route: str, path: str, token: str | None = None) -> Request:
    return Request(route, "GET", path, token)
