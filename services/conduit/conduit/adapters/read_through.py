"""Reads through the cache: a hit, or one caller that asks the database and sets what it read (single flight).

Of all callers that miss one holds a lease and asks the database. The others wait for it, briefly, and get again. They
do not take over what it has read: its read may have begun before a change that they already know of.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Signal
from typing import TypeVar

from prometheus_client import Counter

from conduit import metrics
from conduit.adapters.cache_entries import Entry
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_results import Found, Miss
from conduit.errors import UnavailableError

AnyFound = TypeVar("AnyFound", bound=Found[object])
Value = TypeVar("Value")

# How long a caller waits for the one that holds the lease, before it asks, too. A box has ten threads in all.
LEASE_WAIT_SECONDS = 0.8
# Pauses between gets while another box holds the lease, doubled each time: on a busy box a get costs CPU that answers
# need.
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.08


class NoCacheError(Exception):
    """The cache does not answer."""


class ReadThrough:
    """One cache's reads, in the threads of one process."""

    def __init__(self, cache: RedisCache) -> None:
        self._cache = cache
        self._flights: dict[bytes, Signal] = {}

    def read(
        self,
        kind: str,
        get: Callable[[bytes], AnyFound],
        value: Callable[[AnyFound], Value],
        fetch: Callable[[AnyFound], tuple[Value, list[Entry]]],
    ) -> Value:
        """The ``value`` of a complete hit; else what ``fetch`` reads from the database, which is then cached.

        ``get`` is called with the token of the lease that this caller may get, ``fetch`` with what was found, which may
        be a part of the answer. Raises NoCacheError, and whatever ``fetch`` raises.
        """
        token = self._cache.new_token()
        until = time.monotonic() + LEASE_WAIT_SECONDS
        pause = FIRST_PAUSE_SECONDS
        miss: Miss | None = None
        was_late = False
        while True:
            try:
                found = get(token)
            except UnavailableError as error:
                # One late answer only says that a box is busy, and then the database is better spared. So it gets
                # again, once, or as often as it takes while it waits for a lease.
                if (was_late and miss is None) or not self._cache.is_available or time.monotonic() >= until:
                    count_read(kind, "away")
                    raise NoCacheError from error
                was_late = True
                if miss is None:
                    continue
            else:
                miss = found.miss
                if miss is None:
                    count_read(kind, "hit")
                    return value(found)
                if miss.holds_lease or time.monotonic() >= until:
                    break
            self._wait(miss.name, until, pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        count_read(kind, "miss")
        entries: list[Entry] = []
        with self._flight(miss.name):
            try:
                fetched, entries = fetch(found)
            finally:
                # Even without entries: it ends the lease, for which others wait.
                self._cache.set(miss, entries)
        return fetched

    @contextmanager
    def _flight(self, name: bytes) -> Iterator[None]:
        """Wakes the callers of this process that wait, at the end."""
        signal = self._flights[name] = Signal()
        try:
            yield
        finally:
            if self._flights.get(name) is signal:
                self._flights.pop(name, None)
            signal.set()

    def _wait(self, name: bytes, until: float, pause: float) -> None:
        """Wait until this process's flight ends; for ``pause`` where another box holds the lease."""
        signal = self._flights.get(name)
        if signal is None:
            time.sleep(pause)
        else:
            signal.wait(until - time.monotonic())


def count_read(kind: str, result: str) -> None:
    _counter(kind, result).inc()


@functools.cache
def _counter(kind: str, result: str) -> Counter:
    # Finding a counter by its labels takes longer than counting.
    return metrics.CACHE_READS.labels(kind, result)
