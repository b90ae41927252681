"""Limits on uploads for a small box: a few are in memory, and one at a time is processed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from conduit.bulkhead import Bulkhead


class Uploads:
    """At most ``at_once`` uploads are in memory, and twice as many wait for at most ``wait`` seconds each."""

    def __init__(self, at_once: int, wait: float) -> None:
        self._memory = Bulkhead("uploads", at_once, 2 * at_once, wait)
        self._processor = Bulkhead("uploads", 1, at_once, wait)

    @asynccontextmanager
    async def memory(self) -> AsyncIterator[None]:
        """Hold memory for one upload. Raises BusyError."""
        async with self._memory.slot():
            yield

    @asynccontextmanager
    async def processor(self) -> AsyncIterator[None]:
        """Hold the only slot for processing, after ``memory``. Raises BusyError."""
        async with self._processor.slot():
            yield
