"""Tasks done at once, inside the request that asks for them: nothing to operate, and the caller waits for it all.

Nothing is kept anywhere: what is under way when the process dies is lost, and nothing is tried again. So is what can't
say in its row how it ended, because the database is away. The next process says so at its start.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING

from conduit import covers, reports, tasks
from conduit.errors import AppError, BusyError
from conduit.mail import DeferredError
from conduit.ports import Task, Writer

if TYPE_CHECKING:
    from conduit.bootstrap import Services

log = logging.getLogger(__name__)


class InlineTasks:
    """Does a task and what follows from it, in this thread. After ``seconds``, nothing more that follows is begun."""

    def __init__(self, services: Callable[[], "Services"], seconds: float) -> None:
        self._services = services
        self._seconds = seconds
        self._alone = {name: Lock() for name, handler in tasks.HANDLERS.items() if handler.alone}

    def give_up_left(self, uploads: Callable[[], Iterable[str]]) -> None:
        """Say "failed" of all that an earlier process left "pending"; ``uploads`` names those that it kept.

        For the only process, before it takes requests. Where the database is away it is logged, and left to the next
        start: the app is of use without.
        """
        try:
            covers.give_up_left(self._services(), uploads())
            reports.give_up_left(self._services())
        except AppError as error:
            log.warning("what an earlier process left is not given up", extra={"cause": str(error)})
        except Exception:
            log.exception("what an earlier process left is not given up")

    def note(self, writer: Writer, task: Task) -> None:
        """Nothing: there is nowhere it could be kept for."""

    def send(self, task: Task) -> None:
        started = perf_counter()
        due = deque([task])
        while due:
            self._do(due)
            if due and perf_counter() - started > self._seconds:
                log.warning("given up for the time it takes inside a request", extra={"cause": due[0].key})
                for left in due:
                    tasks.dropped(left)
                return

    def _do(self, due: deque[Task]) -> None:
        services = self._services()
        task = due.popleft()
        try:
            with self._turn(task):
                due.extend(tasks.perform(services, task))
        except DeferredError as error:
            # Nobody tries again here, and the next who are written to need not pay for one who can't be just now.
            log.warning("not everybody is written to", extra={"cause": task.key})
            due.extend(error.follows)
        except Exception:
            self._give_up(services, task)
            raise

    @contextmanager
    def _turn(self, task: Task) -> Iterator[None]:
        """Raises BusyError rather than wait: who waits here holds a thread that requests need."""
        lock = self._alone.get(task.name)
        if lock is None:
            yield
            return
        if not lock.acquire(blocking=False):
            raise BusyError(f"{tasks.HANDLERS[task.name].kind}s")
        try:
            yield
        finally:
            lock.release()

    def _give_up(self, services: "Services", task: Task) -> None:
        try:
            tasks.give_up(services, task)
        except AppError as error:
            log.warning("not even given up", extra={"cause": f"{task.key}: {error}"})
