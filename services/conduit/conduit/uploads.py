"""Limits on uploads for a small box: a few are in memory, and one at a time is processed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from conduit.bulkhead import Bulkhead, PlacesOfUsers


class Uploads:
    """At most ``at_once`` uploads are in memory, and twice as many wait for at most ``wait`` seconds each.

    One user has at most half as many of these places as uploads are in memory: slow ones of one keep nobody else out.
    """

    def __init__(self, at_once: int, wait: float) -> None:
        self._memory = Bulkhead("uploads", at_once, 2 * at_once, wait)
        self._processor = Bulkhead("uploads", 1, at_once, wait)
        self._of_users = PlacesOfUsers("uploads", max(1, at_once // 2))

    @asynccontextmanager
    async def memory(self, user: int) -> AsyncIterator[None]:
        """Hold memory for one upload. Raises BusyError."""
        with self._of_users.place(user):
            async with self._memory.slot():
                yield

    @asynccontextmanager
    async def processor(self) -> AsyncIterator[None]:
        """Hold the only slot for processing, after ``memory``. Raises BusyError."""
        async with self._processor.slot():
            yield
