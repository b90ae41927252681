"""A bulkhead: a limited number of slots for a scarce resource. A request waits for one on the event loop.

If it waited in a thread, sign-ins that wait for two password hashes could hold all ten threads, and none would be left
for reads.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar

from conduit.errors import BusyError


class Bulkhead:
    """At most ``slots`` holders, and ``max_waiting`` requests that wait for ``seconds``. ``what`` is for errors."""

    # At all bulkheads of this process. They need nothing of the box meanwhile.
    all_waiting: ClassVar[int] = 0

    def __init__(self, what: str, slots: int, max_waiting: int, seconds: float) -> None:
        self._what = what
        self._slots = asyncio.Semaphore(slots)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Raises BusyError if none becomes free in time, or at once if too many wait already."""
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise BusyError(self._what)
        self._waits(1)
        try:
            async with asyncio.timeout(self._seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise BusyError(self._what) from error
        finally:
            self._waits(-1)
        try:
            yield
        finally:
            self._slots.release()

    def _waits(self, count: int) -> None:
        self._waiting += count
        Bulkhead.all_waiting += count


class PlacesOfUsers:
    """At most ``most`` places for each user, who waits for none. ``what`` is for errors.

    Whoever sends slowly takes places for long. A user may have many tokens and addresses, so the user is counted.
    """

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken: Counter[int] = Counter()

    @contextmanager
    def place(self, user: int) -> Iterator[None]:
        """Hold a place. Raises BusyError."""
        if self._taken[user] >= self._most:
            raise BusyError(self._what)
        self._taken[user] += 1
        try:
            yield
        finally:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
