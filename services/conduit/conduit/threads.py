"""The thread pool that runs requests' blocking work.

Every request passes through it, and on a small box its cost shows. Measured with one query in the thread, in
five interleaved rounds: 2,200 to 2,780 requests per CPU-second here, 1,890 to 2,440 with the standard library's
executor, 1,600 to 2,040 with AnyIO's pool (docs/decisions/0001-the-app-s-stack.md). It does less: work is never
cancelled once it has started, and a result returns by a single callback.

Overload is handled as in "Fail at Scale" (ACM Queue, 2015), by adaptive LIFO. As long as the queue is short, work is
done in the order of its arrival. A queue whose oldest has waited for ``STANDS_SECONDS`` stands: then the newest comes
first, which can still be answered in time, and the oldest waits until there is room again or until it is refused.
Nothing is refused for the sake of those behind it, so a burst costs some of its requests time, and none its answer. And
while the queue stands only ``FEW`` threads take work, each when the event loop has had its turn: else the loop, which
accepts, reads and answers, would seldom get the interpreter, and requests would wait in sockets that nobody has read.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar

from conduit import metrics
from conduit.errors import OverloadedError

STANDS_SECONDS = 0.1
FEW = 4
# The few may all be held up, by a lock or a slow upload. The others do not wait for them for longer than this.
PATIENCE_SECONDS = 0.5

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class _Job(NamedTuple):
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    context: Context
    work: Callable[[], Any]
    asked: float


class Threads:
    """``count`` threads. Work that has waited for ``max_wait`` seconds is refused."""

    def __init__(self, count: int, max_wait: float) -> None:
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._probes: deque[_Job] = deque()
        self._waiting: deque[_Job] = deque()  # the oldest first
        # One True for each job that was ever put, so that a thread can wait for it; False ends a thread.
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._is_short = threading.Event()  # the queue does not stand
        self._is_short.set()
        self._threads = [
            threading.Thread(target=self._work, args=(n >= FEW,), name=f"work-{n}", daemon=True) for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run ``work`` in a thread with this task's context variables. Returns or raises what it does.

        Raises OverloadedError if no thread became free in time.
        """
        return await self._done(self._waiting, partial(work, *args, **kwargs))

    async def run_always(self, work: Callable[[], Result]) -> Result:
        """Like ``run``, for work that goes first and is never refused: probes, start and stop."""
        return await self._done(self._probes, work)

    def drop_oldest(self) -> bool:
        """Refuse the work that has waited longest; False if none waits."""
        with self._lock:
            job = self._waiting.popleft() if self._waiting else None
        if job is not None:
            _refuse(job)
        return job is not None

    def close(self) -> None:
        """Make the threads end after the work that is queued now."""
        for _ in self._threads:
            self._tokens.put(False)

    async def _done(self, queue: deque[_Job], work: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        job = _Job(future, loop, copy_context(), work, time.monotonic())
        with self._lock:
            queue.append(job)
            late = self._pop_late(job.asked)
        self._tokens.put(True)
        _refuse_all(late)
        del job
        try:
            return await future
        finally:
            # An error's traceback has this frame, and the future has the error: a cycle that holds all of the request,
            # and that only the garbage collector ends. Under overload that took it a second at a time.
            del future

    def _pop_late(self, now: float) -> list[_Job]:
        late = []
        while self._waiting and now - self._waiting[0].asked > self._max_wait:
            late.append(self._waiting.popleft())
        return late

    def _take(self) -> _Job | None:
        """The next job; None where the one that the token stood for was refused meanwhile."""
        now = time.monotonic()
        with self._lock:
            late = self._pop_late(now)
            stands = bool(self._waiting) and now - self._waiting[0].asked > STANDS_SECONDS
            if self._probes:
                job = self._probes.popleft()
            elif self._waiting:
                job = self._waiting.pop() if stands else self._waiting.popleft()
            else:
                job = None
        if stands == self._is_short.is_set():
            (self._is_short.clear if stands else self._is_short.set)()
        _refuse_all(late)
        return job

    def _work(self, is_spare: bool) -> None:
        turn: SimpleQueue[None] = SimpleQueue()
        while True:
            if is_spare and not self._is_short.is_set():
                self._is_short.wait(PATIENCE_SECONDS)
            if not self._tokens.get():
                return
            job = self._take()
            if job is None:
                continue
            try:
                result = job.context.run(job.work)
            except BaseException as error:  # raised in the task that awaits the result
                _call_back(job.loop, _fail, job.future, error)
            else:
                _call_back(job.loop, _finish, job.future, result)
                del result
            if not self._is_short.is_set():
                _call_back(job.loop, turn.put, None)
                with suppress(Empty):
                    turn.get(timeout=PATIENCE_SECONDS)
            # Otherwise the name keeps the last job's objects alive until the next one.
            del job


def _refuse_all(jobs: list[_Job]) -> None:
    """And keep none: who refuses others may wait for long itself."""
    while jobs:
        _refuse(jobs.pop())


def _refuse(job: _Job) -> None:
    metrics.SHED.inc()
    _call_back(job.loop, _fail, job.future, OverloadedError())


def _call_back(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        # The app has stopped meanwhile, and nothing awaits the result.
        if not loop.is_closed():
            raise


def _finish(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
