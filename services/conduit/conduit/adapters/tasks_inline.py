"""Tasks done at once, inside the request that asks for them. There is nothing to operate, but the caller waits.

A task is neither stored nor retried. If the process dies, or the database is down when the task ends, its row stays
"pending". The next process sets it to "failed", once no other process can still be working on it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import perf_counter

from conduit import metrics, tasks
from conduit.errors import AppError, BusyError
from conduit.ports import Database, Enqueued, Task, Writer
from conduit.tasks import Handlers, IncompleteError

log = logging.getLogger(__name__)

EXPIRE_SECONDS = 3_600.0


class InlineTasks:
    """Runs a task and its follow-up tasks in this thread. After ``seconds`` it starts no more of them."""

    def __init__(self, database: Database, handlers: Handlers, seconds: float) -> None:
        self._database = database
        self._handlers = handlers
        self._seconds = seconds
        self._ended = Event()
        self._locks = {handler.task.name: Lock() for handler in handlers if handler.exclusive}

    def begin(self) -> None:
        """Fail what earlier processes abandoned: now, and again once every request that is under way now has ended.

        From then on, delete results that are too old.
        """
        self._fail_abandoned()
        Thread(target=self._tidy, name="tidy", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _tidy(self) -> None:
        if not self._ended.wait(tasks.LONGEST_REQUEST_SECONDS):
            self._fail_abandoned()
        while not self._ended.wait(EXPIRE_SECONDS):
            _try("deleting old results", self._handlers.expire)

    def _fail_abandoned(self) -> None:
        """If the database is down, this is left to the next start: the app must start without it."""
        _try("failing abandoned tasks", self._handlers.fail_abandoned)

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:  # noqa: ARG002 - the port's
        """Nothing is kept: there is no outbox."""
        return Enqueued(task, 0)

    def send(self, enqueued: Enqueued) -> None:
        started = perf_counter()
        due = deque([enqueued.task])
        while due:
            self._do(due)
            if due and perf_counter() - started > self._seconds:
                log.warning("follow-up tasks are dropped: the request has taken too long", extra={"cause": due[0].key})
                for dropped in due:
                    metrics.TASKS_DROPPED.labels(self._handlers.of(dropped).kind).inc()
                return

    def _do(self, due: deque[Task]) -> None:
        task = due.popleft()
        try:
            with self._exclusively(task):
                due.extend(self._handlers.perform(task))
        except IncompleteError as error:
            # The rest of the task is not retried, but its follow-up tasks run.
            log.warning("a task is incomplete", extra={"cause": f"{task.key}: {error}"})
            due.extend(error.follows)
        except Exception:
            self._fail(task)
            raise

    @contextmanager
    def _exclusively(self, task: Task) -> Iterator[None]:
        """Hold the lock of an exclusive task. Raises BusyError instead of waiting, which would hold a thread."""
        lock = self._locks.get(task.name)
        if lock is None:
            yield
            return
        if not lock.acquire(blocking=False):
            raise BusyError(f"{self._handlers.of(task).kind}s")
        try:
            yield
        finally:
            lock.release()

    def _fail(self, task: Task) -> None:
        handler = self._handlers.of(task)
        try:
            with self._database.writing(task.owner_id) as writer:
                handler.fail(writer, task)
            # Only now: while the row is "pending", fail_abandoned needs the upload to find it.
            handler.discard(task)
        except AppError as error:
            log.warning("a failed task stays pending", extra={"cause": f"{task.key}: {error}"})


def _try(what: str, do: Callable[[], None]) -> None:
    try:
        do()
    except AppError as error:
        log.warning(f"{what} failed", extra={"cause": str(error)})
    except Exception:
        log.exception(f"{what} failed")
