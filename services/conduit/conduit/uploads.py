"""What bounds uploads on a small box: a few are held in memory, and one is worked on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from conduit.bulkhead import Bulkhead


class Uploads:
    """At most ``at_once`` uploads are in memory, and twice as many wait for that, ``wait`` seconds each at most."""

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
        """Be the one that is worked on, for who holds memory. Raises BusyError."""
        async with self._processor.slot():
            yield
