"""Reads through the cache: a hit, or one caller that asks the database and sets what it read (single flight).

Of all callers that miss one holds a lease and asks the database. The others wait for it, briefly, and get again. They
take over what a caller of their own process has read only if that read began after they came: an older one may have
missed a change that they already know of.

A caller for whom the cache is late gets once more. Then it asks the database, but not while it is known in its process
that the key is being read already: then it waits like the others.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from threading import Event as Signal
from threading import Lock
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


# As many answers in a row may be late before a caller does without the cache: 50 ms, as conduit.adapters.cache_redis
# bounds them.
LATE_ANSWERS = 2


class ReadThrough:
    """One cache's reads, in the threads of one process."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache
        self._flights: dict[bytes, _Flight[Any]] = {}
        self._told = _Told()

    def read(
        self,
        kind: str,
        key: bytes,
        get: Callable[[bytes], AnyFound],
        value: Callable[[AnyFound], Value],
        fetch: Callable[[AnyFound | None], tuple[Value, list[Entry]]],
    ) -> Value:
        """The ``value`` of a complete hit; else what ``fetch`` reads from the database, which is then cached.

        ``key`` names the lease. ``get`` is called with the token of the lease that this caller may get, ``fetch`` with
        what was found, which may be a part of the answer, or None without the cache. Raises whatever ``fetch`` raises.
        """
        until = (came := time.monotonic()) + LEASE_WAIT_SECONDS
        token = self._cache.new_token()
        pauses = _pauses()
        late = 0
        with self._told.caller(key) as caller:
            while True:
                asked = time.monotonic()
                found, miss = self._try(get, token)
                if found is not None and miss is None:
                    count_read(kind, "hit")
                    return value(found)
                if miss is not None:
                    late = 0
                    if miss.holds_lease or asked >= until:
                        count_read(kind, "miss")
                        return self._fly(key, _Flight(asked), partial(fetch, found), miss)
                    caller.is_told()
                else:
                    late += 1
                    if late < LATE_ANSWERS and self._cache.is_available:
                        continue  # one late answer only says that a box is busy, and then the database is better spared
                    caller.gives_up()
                    if not self._others_ask(key, until):
                        flight: _Flight[Value] = _Flight(asked)
                        if asked >= until or self._flights.setdefault(key, flight) is flight:
                            count_read(kind, "away")
                            try:
                                return self._fly(key, flight, partial(fetch, None), None)
                            finally:
                                if self._cache.is_available:
                                    self._cache.release_later(key, token)
                if (under_way := self._flights.get(key)) is None:
                    time.sleep(next(pauses))
                elif under_way.serves(came, until):
                    count_read(kind, "shared")
                    shared: Value = under_way.value
                    return shared

    def _others_ask(self, key: bytes, until: float) -> bool:
        """Whether callers of this process were told that the key is being read. Waits for what comes of it."""
        if not self._told.about(key):
            return False
        while self._told.about(key) and key not in self._flights and self._cache.is_available:
            if time.monotonic() >= until:
                return False
            time.sleep(FIRST_PAUSE_SECONDS)
        return True

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
        key: bytes,
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
            try:
                if miss is not None:
                    # Even without entries: it ends the lease, for which others wait.
                    self._cache.set(miss, entries)
            finally:
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


class _Told:
    """By key, how many callers of this process know that it is being read, and are waiting for that."""

    def __init__(self) -> None:
        self._callers: dict[bytes, int] = {}
        self._lock = Lock()

    def about(self, key: bytes) -> bool:
        return key in self._callers

    def count(self, key: bytes, change: int) -> None:
        with self._lock:
            if callers := self._callers.get(key, 0) + change:
                self._callers[key] = callers
            else:
                self._callers.pop(key, None)

    def caller(self, key: bytes) -> "_Caller":
        return _Caller(self, key)


class _Caller:
    """Somebody who may be told so. Ends as a context manager."""

    def __init__(self, told: _Told, key: bytes) -> None:
        self._told = told
        self._key = key
        self._counts = False

    def __enter__(self) -> "_Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.gives_up()

    def is_told(self) -> None:
        if not self._counts:
            self._counts = True
            self._told.count(self._key, 1)

    def gives_up(self) -> None:
        if self._counts:
            self._counts = False
            self._told.count(self._key, -1)


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
