"""A bulkhead: a limited number of slots for a scarce resource. A request waits for one on the event loop.

If it waited in a thread, sign-ins that wait for a password hash could hold all ten threads, and none would be left for
reads.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar, NamedTuple

from conduit.errors import BusyError


class _Waiting(NamedTuple):
    since: float
    slot: "asyncio.Future[None]"


class Bulkhead:
    """At most ``slots`` holders, and ``max_waiting`` requests that wait for ``seconds``. ``what`` is for errors.

    They have their slots in the order of their arrival, until the oldest has waited for ``stands`` seconds. Then the
    newest comes first, which can still be answered in time, as in the threads' queue (threads.py).
    """

    # At all bulkheads of this process. They need nothing of the box meanwhile.
    all_waiting: ClassVar[int] = 0

    def __init__(self, what: str, slots: int, max_waiting: int, seconds: float, *, stands: float = math.inf) -> None:
        self._what = what
        self._free = slots
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._stands = stands
        self._queue: list[_Waiting] = []  # the oldest first

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot. Raises BusyError if none becomes free in time, or at once if too many wait already."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._give_on()

    async def _wait(self) -> None:
        if len(self._queue) >= self._max_waiting:
            raise BusyError(self._what)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop.time(), loop.create_future())
        self._queue.append(waiting)
        Bulkhead.all_waiting += 1
        has_it = False
        try:
            async with asyncio.timeout(self._seconds):
                await waiting.slot
            has_it = True
        except TimeoutError as error:
            raise BusyError(self._what) from error
        finally:
            Bulkhead.all_waiting -= 1
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif not has_it:  # it was given while this request was given up
                self._give_on()

    def _give_on(self) -> None:
        """Give a slot to whoever is next, if anybody waits."""
        waiting = [one for one in self._queue if not one.slot.done()]
        if not waiting:
            self._free += 1
            return
        stands = asyncio.get_running_loop().time() - waiting[0].since > self._stands
        following = waiting[-1 if stands else 0]
        self._queue.remove(following)
        following.slot.set_result(None)


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
