"""Reads through the cache: a hit, or one caller that asks the database and sets what it read (single flight).

Of all callers that miss one holds a lease and asks the database. The others wait for it, briefly, and get again. They
take over what a caller of their own process has read only if that read began after they came: an older one may have
missed a change that they already know of.

A caller for whom the cache is late gets once more. Then it asks the database, but not while others do so already: it
waits for a read that is under way in its process, and while callers of its process wait for another box, it waits, too.
"""

import time
from collections.abc import Callable, Hashable, Iterator
from functools import cache, partial
from threading import Event as Signal
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

from conduit import metrics
from conduit.adapters.cache_entries import Entry
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_results import Found, Miss
from conduit.errors import UnavailableError

AnyFound = TypeVar("AnyFound", bound=Found[object])
Value = TypeVar("Value")

# How long a caller waits for the one that asks the database, before it asks, too. A box has ten threads in all.
LEASE_WAIT_SECONDS = 0.8
# Pauses between gets while another box holds the lease, doubled each time: on a busy box a get costs CPU that answers
# need.
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.08


class ReadThrough:
    """One cache's reads, in the threads of one process."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache
        self._flights: dict[Hashable, _Flight[Any]] = {}
        # What callers of this process wait for because another box holds the lease. Only a hint: with the first of them
        # that goes a key is out, until another one is told again.
        self._leased_elsewhere: set[Hashable] = set()

    def read(
        self,
        kind: str,
        key: Hashable,
        get: Callable[[bytes], AnyFound],
        value: Callable[[AnyFound], Value],
        fetch: Callable[[AnyFound | None], tuple[Value, list[Entry]]],
    ) -> Value:
        """The ``value`` of a complete hit; else what ``fetch`` reads from the database, which is then cached.

        ``get`` is called with the token of the lease that this caller may get, ``fetch`` with what was found, which may
        be a part of the answer, or None without the cache. Raises whatever ``fetch`` raises.
        """
        key = kind, key
        came = time.monotonic()
        token = self._cache.new_token()
        pauses = _pauses()
        was_told = was_late = False
        try:
            while True:
                asked = time.monotonic()
                found, miss = self._try(get, token)
                if found is not None and miss is None:
                    count_read(kind, "hit")
                    return value(found)
                is_over = time.monotonic() - came >= LEASE_WAIT_SECONDS
                if miss is not None:
                    if miss.holds_lease or is_over:
                        count_read(kind, "miss")
                        return self._fly(key, _Flight(asked), partial(fetch, found), miss)
                    was_told = True
                    self._leased_elsewhere.add(key)
                elif not was_late and self._cache.is_available:
                    # One late answer only says that a box is busy, and then the database is better spared.
                    was_late = True
                    continue
                elif is_over or not (self._cache.is_available and key in self._leased_elsewhere):
                    flight: _Flight[Value] = _Flight(asked)
                    if is_over or self._flights.setdefault(key, flight) is flight:
                        count_read(kind, "away")
                        return self._fly(key, flight, partial(fetch, None), None)
                if (under_way := self._flights.get(key)) is None:
                    time.sleep(next(pauses))
                elif under_way.serves(came, came + LEASE_WAIT_SECONDS):
                    count_read(kind, "shared")
                    shared: Value = under_way.value
                    return shared
        finally:
            if was_told:
                self._leased_elsewhere.discard(key)

    @staticmethod
    def _try(get: Callable[[bytes], AnyFound], token: bytes) -> tuple[AnyFound | None, Miss | None]:
        """What was found, and what was missed; neither without an answer."""
        try:
            found = get(token)
        except UnavailableError:
            return None, None
        return found, found.miss

    def _fly(
        self,
        key: Hashable,
        flight: "_Flight[Value]",
        fetch: Callable[[], tuple[Value, list[Entry]]],
        miss: Miss | None,
    ) -> Value:
        """What ``fetch`` reads. Callers of this process that wait for it are woken, whatever comes of it."""
        self._flights[key] = flight
        entries: list[Entry] = []
        try:
            fetched, entries = fetch()
            flight.land(fetched)
            return fetched
        finally:
            if miss is not None:
                # Even without entries: it ends the lease, for which others wait.
                self._cache.set(miss, entries)
            if self._flights.get(key) is flight:
                self._flights.pop(key, None)
            flight.ended.set()


class _Flight(Generic[Value]):
    """A read that one caller of this process makes: of the cache, when it ``began``, then of the database."""

    value: Value

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended = Signal()
        self._landed = False

    def land(self, value: Value) -> None:
        self.value = value
        self._landed = True

    def serves(self, came: float, until: float) -> bool:
        """Wait for its end. Whether a caller that ``came`` then may take its value: not where it began before that."""
        self.ended.wait(until - time.monotonic())
        return self._landed and self.began >= came


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def count_read(kind: str, result: str) -> None:
    _counter(kind, result).inc()


@cache
def _counter(kind: str, result: str) -> Counter:
    # Finding a counter by its labels takes longer than counting.
    return metrics.CACHE_READS.labels(kind, result)
