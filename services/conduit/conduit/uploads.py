"""Places and turns for uploads, on the event loop: a small box holds few of them, and works on one at a time.

Who waits here waits in no thread: ten threads with an image each would leave none for anything else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from conduit.errors import BusyError, TooSlowError
from conduit.http import read_body


class Uploads:
    """At most ``at_once`` are held in memory, and twice as many wait for that: whoever waits is a request in flight, of
    which the app takes so many. A body has ``seconds`` to arrive; ``wait`` is how long one waits for a place at the
    most, and again for the turn.
    """

    def __init__(self, at_once: int, seconds: float, wait: float) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._most_waiting = 2 * at_once
        self._seconds = seconds
        self._wait = wait

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Room for one upload. Raises BusyError when none comes free in time, at once where too many wait already."""
        if self._places.locked() and self._waiting >= self._most_waiting:
            raise BusyError("uploads")
        self._waiting += 1
        try:
            await self._acquire(self._places)
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The only one that is worked on, for who has a place. Raises BusyError when it does not come in time."""
        await self._acquire(self._turn)
        try:
            yield
        finally:
            self._turn.release()

    async def read(self, request: Request, most: int) -> bytes:
        """The body. Raises TooSlowError, and what ``read_body`` raises."""
        try:
            async with asyncio.timeout(self._seconds):
                return await read_body(request, most)
        except TimeoutError as error:
            raise TooSlowError(self._seconds) from error

    async def _acquire(self, semaphore: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._wait):
                await semaphore.acquire()
        except TimeoutError as error:
            raise BusyError("uploads") from error
