"""The threads that do the work of requests, and the way there and back from the event loop.

Every request takes this way, and on a quarter of a core it shows. Measured side by side with one query in the thread,
five rounds: 2,200 to 2,780 requests per CPU-second by this, 1,890 to 2,440 by the standard library's executor, 1,600 to
2,040 by AnyIO's pool (docs/decisions/0001-the-app-s-stack.md). It does less: work is never cancelled once begun, and a
result goes back by one callback.

Work that has waited too long for a thread is refused instead of begun, because work on late requests makes all others
late as well. How long is too long is decided as in CoDel (controlled delay; for servers: "Fail at Scale", ACM Queue,
2015): a burst may wait, since its queue will soon be empty; in a queue that has not been empty for three seconds, which
is overload, only what has just come is still in time.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, NoReturn, ParamSpec, TypeVar

from conduit import metrics
from conduit.errors import OverloadedError

# How long a request of a burst may wait, and how long a queue may stand before it is overload. With one second for
# both, boxes that were three quarters busy refused what they would have done in time.
BURST_WAIT_SECONDS = 1.0
OVERLOAD_AFTER_SECONDS = 3.0

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")
_Job = tuple["asyncio.Future[Any]", asyncio.AbstractEventLoop, Context, Callable[[], Any], float]


class Threads:
    """``count`` threads that take work in the order it came.

    Work that has waited BURST_WAIT_SECONDS is refused; in overload, what has waited ``max_wait`` seconds.
    """

    def __init__(self, count: int, max_wait: float) -> None:
        self._max_wait = max_wait
        self._last_empty = time.monotonic()
        self._waiting: deque[float] = deque()  # when each was asked for, in the order of the jobs
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"work-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """What ``work`` returns or raises, run in a thread with this task's context variables.

        Raises OverloadedError where no thread was free in time, or where none can be expected to be.
        """
        now = time.monotonic()
        if self._waiting and self._is_overloaded(now) and self._is_first_late(now):
            # It would wait as long, and be refused after a trip to a thread and back.
            _refuse()
        return await self._done(lambda: work(*args, **kwargs), now, now)

    async def run_always(self, work: Callable[[], Result]) -> Result:
        """The same for what is never refused: probes, start and stop."""
        return await self._done(work, float("inf"), time.monotonic())

    async def _done(self, work: Callable[[], Result], asked: float, now: float) -> Result:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._waiting:
            self._last_empty = now
        self._waiting.append(asked)
        self._jobs.put((future, loop, copy_context(), work, asked))
        return await future

    def close(self) -> None:
        """Let the threads end once the work before this call is done."""
        for _ in self._threads:
            self._jobs.put(None)

    def _is_overloaded(self, now: float) -> bool:
        return now - self._last_empty > OVERLOAD_AFTER_SECONDS

    def _is_first_late(self, now: float) -> bool:
        try:
            return now - self._waiting[0] > self._max_wait
        except IndexError:
            return False

    def _is_late(self, asked: float) -> bool:
        now = time.monotonic()
        self._waiting.popleft()
        if not self._waiting:
            self._last_empty = now
        return now - asked > (self._max_wait if self._is_overloaded(now) else BURST_WAIT_SECONDS)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, loop, context, work, asked = job
            try:
                result = context.run(_refuse if self._is_late(asked) else work)
            except BaseException as error:  # it belongs to the task that awaits it
                _call_back(loop, _fail, future, error)
            else:
                _call_back(loop, _finish, future, result)
                del result
            # Without this, what the last job held is held until the next one comes.
            del job, future, loop, context, work


def _call_back(
    loop: asyncio.AbstractEventLoop, end: Callable[["asyncio.Future[Any]", Any], None], future: Any, ended: Any
) -> None:
    try:
        loop.call_soon_threadsafe(end, future, ended)
    except RuntimeError:
        # The app has stopped meanwhile, and nobody waits any more.
        if not loop.is_closed():
            raise


def _refuse() -> NoReturn:
    metrics.SHED.inc()
    raise OverloadedError


def _finish(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
