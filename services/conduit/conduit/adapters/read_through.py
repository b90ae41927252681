"""Reads through the cache: a hit, or one caller that asks the database and sets what it read (single flight).

Of all callers that miss one holds a lease and asks the database. The others wait for it, briefly, and repeat their get.
They take over what a caller of their own process has read only if that read began after they came: an older one may
have missed a change that they already know of.

A caller for whom the cache is late tries again, more often while other calls of its process are answered. Then it asks
the database, but not while it is known in its process that the key is being read already: then it waits like the
others.

Where a read lacks one of several servers, nothing is kept, and whoever waited for it would be the next to try in vain.
So for a moment nobody of this process tries again.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from threading import Event as Signal
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from prometheus_client import Counter

from conduit import metrics, sessions
from conduit.adapters.cache_entries import Entry
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_results import Found, Miss
from conduit.adapters.redis_server import LateError
from conduit.adapters.scatter_gather import SomeMissingError
from conduit.errors import UnavailableError

AnyFound = TypeVar("AnyFound", bound=Found[object])
Value = TypeVar("Value")

# How long a caller waits for the one that asks the database, before it asks, too. A box has ten threads in all.
LEASE_WAIT_SECONDS = 0.8
# Pauses between gets while another box holds the lease, doubled each time: on a busy box a get costs CPU that answers
# need.
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.08
# After so many late answers in a row a caller does without the cache: 50 ms, as conduit.adapters.cache_redis has it.
# While other calls are answered, it is only unlucky on a busy box, and tries up to the second number: 110 ms at most.
LATE_GETS, MOST_GETS = 2, 5
# How long nobody tries a read again that lacked a server, and for how many of them that is remembered.
PARTIAL_SECONDS = 1.0
MOST_PARTIAL = 1_000


class _Caller(NamedTuple, Generic[AnyFound, Value]):
    """What ``read`` was called with, when it ``came``, and its lease's token."""

    kind: str
    key: bytes
    token: bytes
    came: float
    get: Callable[[bytes], AnyFound]
    value: Callable[[AnyFound], Value]
    fetch: Callable[[AnyFound | None], tuple[Value, list[Entry]]]


class ReadThrough:
    """One cache's reads, in the threads of one process."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache
        self._flights: dict[bytes, _Flight[Any]] = {}
        self._told = _Told()
        self._partial_until: dict[bytes, float] = {}

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
        what was found, which may be a part of the answer, or None without the cache. Raises whatever ``fetch`` raises;
        SomeMissingError also for a moment after that.
        """
        self._refuse_partial(key)
        token = self._cache.new_token()
        came = time.monotonic()
        asked, found = self._get(get, token)
        if found is not None and found.miss is None:
            count_read(kind, "hit")
            return value(found)
        caller = _Caller(kind, key, token, came, get, value, fetch)
        try:
            return self._read_missed(caller, asked, found)
        finally:
            self._told.remove(caller)

    def _refuse_partial(self, key: bytes) -> None:
        """Raise SomeMissingError where a read of this key lacked a server a moment ago."""
        if time.monotonic() < self._partial_until.get(key, 0.0):
            raise SomeMissingError("some servers")

    def _read_missed(self, caller: "_Caller[AnyFound, Value]", asked: float, found: AnyFound | None) -> Value:
        """The value for a caller whose first get, which began at ``asked``, found this."""
        key, until, pause = caller.key, caller.came + LEASE_WAIT_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            if found is None:
                self._told.remove(caller)
                if not self._others_ask(key, until):
                    flight: _Flight[Value] = _Flight(time.monotonic())
                    if asked >= until or self._flights.setdefault(key, flight) is flight:
                        return self._read_without_cache(caller, flight)
            elif found.miss is None:
                count_read(caller.kind, "hit")
                return caller.value(found)
            elif found.miss.holds_lease or asked >= until:
                count_read(caller.kind, "miss")
                return self._fly(key, _Flight(asked), partial(caller.fetch, found), found.miss)
            else:
                self._told.add(caller)
            if (under_way := self._flights.get(key)) is None:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            elif under_way.serves(caller.came, until):
                count_read(caller.kind, "shared")
                shared: Value = under_way.value
                return shared
            self._refuse_partial(key)
            asked, found = self._get(caller.get, caller.token, times=1 if found is None else LATE_GETS)

    def _read_without_cache(self, caller: "_Caller[AnyFound, Value]", flight: "_Flight[Value]") -> Value:
        count_read(caller.kind, "away")
        try:
            return self._fly(caller.key, flight, partial(caller.fetch, None), None)
        finally:
            if self._cache.is_available:
                # A late answer may have given it the lease, for which others wait.
                self._cache.release_later(caller.key, caller.token)

    def _others_ask(self, key: bytes, until: float) -> bool:
        """Whether callers of this process were told that the key is being read. Waits for what comes of it."""
        if not self._told.about(key):
            return False
        while self._told.about(key) and key not in self._flights and self._cache.is_available:
            if time.monotonic() >= until:
                return False
            time.sleep(FIRST_PAUSE_SECONDS)
        return True

    def _get(
        self, get: Callable[[bytes], AnyFound], token: bytes, times: int = LATE_GETS
    ) -> tuple[float, AnyFound | None]:
        """When the last try began, on time.monotonic's clock, and what it found; None without an answer.

        Only after a late answer there is another try: ``times`` in any case, and more while other calls are answered.
        """
        for tried in range(1, MOST_GETS + 1):
            asked = time.monotonic()
            try:
                return asked, get(token)
            except LateError:
                is_alone = not self._cache.has_answered_since(asked)
                if not self._cache.is_available or (tried >= times and is_alone):
                    break
            except UnavailableError:
                break
        return asked, None

    def _fly(
        self,
        key: bytes,
        flight: "_Flight[Value]",
        fetch: Callable[[], tuple[Value, list[Entry]]],
        miss: Miss | None,
    ) -> Value:
        """What ``fetch`` reads, from where nothing is missing that the cache was told of. Callers of this process that
        wait for it are woken, whatever comes of it.
        """
        sessions.after(None if miss is None else miss.reached)
        self._flights[key] = flight
        entries: list[Entry] = []
        try:
            fetched, entries = fetch()
            flight.land(fetched)
        except SomeMissingError:
            if len(self._partial_until) >= MOST_PARTIAL:
                self._partial_until.clear()
            self._partial_until[key] = time.monotonic() + PARTIAL_SECONDS
            raise
        else:
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
    """Callers of this process who know that a key is being read, and are waiting for that."""

    def __init__(self) -> None:
        self._tokens: dict[bytes, set[bytes]] = {}
        self._lock = Lock()

    def about(self, key: bytes) -> bool:
        return key in self._tokens

    def add(self, caller: "_Caller[Any, Any]") -> None:
        with self._lock:
            self._tokens.setdefault(caller.key, set()).add(caller.token)

    def remove(self, caller: "_Caller[Any, Any]") -> None:
        """Idempotent; also of one that was never added."""
        with self._lock:
            tokens = self._tokens.get(caller.key, set())
            tokens.discard(caller.token)
            if not tokens:
                self._tokens.pop(caller.key, None)


def count_read(kind: str, result: str) -> None:
    _counter(kind, result).inc()


@cache
def _counter(kind: str, result: str) -> Counter:
    # Finding a counter by its labels takes longer than counting.
    return metrics.CACHE_READS.labels(kind, result)
