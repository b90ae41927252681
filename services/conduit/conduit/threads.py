"""The thread pool that runs requests' blocking work.

Every request passes through it, and on a quarter of a core its cost shows. Measured with one query in the thread, in
five interleaved rounds: 2,200 to 2,780 requests per CPU-second here, 1,890 to 2,440 with the standard library's
executor, 1,600 to 2,040 with AnyIO's pool (docs/decisions/0001-the-app-s-stack.md). It does less: work is never
cancelled once it has started, and a result returns by a single callback.

Work that has waited too long for a thread is refused (load shedding), because work on late requests makes the others
late as well. The limit follows CoDel, controlled delay (for servers: "Fail at Scale", ACM Queue, 2015). A burst may
wait, since its queue will soon be empty. A queue that has not been empty for three seconds is overload: then only work
that has just arrived is run.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn, ParamSpec, TypeVar

from conduit import metrics
from conduit.errors import OverloadedError

# How long a request of a burst may wait, and how long a standing queue still counts as a burst. Shorter times refuse
# requests that a busy box could have answered.
BURST_WAIT_SECONDS = 1.0
OVERLOAD_AFTER_SECONDS = 3.0

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")
_Job = tuple["asyncio.Future[Any]", asyncio.AbstractEventLoop, Context, Callable[[], Any], float]


class Threads:
    """``count`` threads that take work in the order of its arrival.

    Under overload, work that has waited for ``max_wait`` seconds is refused. Of a burst it may wait for
    BURST_WAIT_SECONDS, if that is longer.
    """

    def __init__(self, count: int, max_wait: float) -> None:
        self._max_wait = max_wait
        self._burst_wait = max(max_wait, BURST_WAIT_SECONDS)
        self._last_empty = time.monotonic()
        self._waiting: deque[float] = deque()  # arrival times, in the order of the jobs
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"work-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run ``work`` in a thread with this task's context variables. Returns or raises what it does.

        Raises OverloadedError if no thread becomes free in time, or if none can be expected to.
        """
        now = time.monotonic()
        if self._waiting and self._is_overloaded(now) and self._is_first_late(now):
            # It would wait as long as the first, only to be refused by a thread.
            _refuse()
        return await self._done(partial(work, *args, **kwargs), now, now)

    async def run_always(self, work: Callable[[], Result]) -> Result:
        """Like ``run``, for work that is never refused: probes, start and stop."""
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
        """Make the threads end after the work that is queued now."""
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
        return now - asked > (self._max_wait if self._is_overloaded(now) else self._burst_wait)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, loop, context, work, asked = job
            try:
                result = context.run(_refuse if self._is_late(asked) else work)
            except BaseException as error:  # raised in the task that awaits the result
                _call_back(loop, _fail, future, error)
            else:
                _call_back(loop, _finish, future, result)
                del result
            # Otherwise these names keep the last job's objects alive until the next one.
            del job, future, loop, context, work


def _call_back(
    loop: asyncio.AbstractEventLoop, end: Callable[["asyncio.Future[Any]", Any], None], future: Any, ended: Any
) -> None:
    try:
        loop.call_soon_threadsafe(end, future, ended)
    except RuntimeError:
        # The app has stopped meanwhile, and nothing awaits the result.
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
