"""Places and turns for uploads, on the event loop: a small box holds few of them, and works on one at a time.

Who waits here waits in no thread: ten threads with an image each would leave none for anything else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.requests import Request

from conduit.errors import BusyError, TooSlowError
from conduit.http import read_body


class Uploads:
    """At most ``at_once`` are held in memory. A body has ``seconds`` to arrive; ``wait`` is the longest queue for a
    place, and again for the turn.
    """

    def __init__(self, at_once: int, seconds: float, wait: float) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._turn = asyncio.Semaphore(1)
        self._seconds = seconds
        self._wait = wait

    def place(self) -> AbstractAsyncContextManager[None]:
        """Room for one upload. Raises BusyError when none comes free in time."""
        return self._held(self._places)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The only one that is worked on. Raises BusyError when it does not come in time."""
        return self._held(self._turn)

    async def read(self, request: Request, most: int) -> bytes:
        """The body. Raises TooSlowError, and what ``read_body`` raises."""
        try:
            async with asyncio.timeout(self._seconds):
                return await read_body(request, most)
        except TimeoutError as error:
            raise TooSlowError(self._seconds) from error

    @asynccontextmanager
    async def _held(self, semaphore: asyncio.Semaphore) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait):
                await semaphore.acquire()
        except TimeoutError as error:
            raise BusyError("uploads") from error
        try:
            yield
        finally:
            semaphore.release()
