"""A bulkhead on the event loop: what is scarce has so many slots, and who waits for one holds no thread.

Ten threads that wait for two password hashes would leave none for reading.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from conduit.errors import BusyError


class Bulkhead:
    """At most ``slots`` are inside, and ``max_waiting`` wait for ``seconds`` at most. ``what`` names it in errors."""

    def __init__(self, what: str, slots: int, max_waiting: int, seconds: float) -> None:
        self._what = what
        self._slots = asyncio.Semaphore(slots)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Raises BusyError when none comes free in time, at once where too many wait already."""
        if self._slots.locked() and self._waiting >= self._max_waiting:
            raise BusyError(self._what)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise BusyError(self._what) from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
