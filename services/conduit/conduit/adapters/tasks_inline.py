"""Tasks done at once, inside the request that asks for them: nothing to operate, and the caller waits for it all.

Nothing is kept anywhere: what is under way when the process dies is lost, and nothing is tried again. So is what can't
say in its row how it ended, because the database is away. The next process says so, once that is too old to be another
box's that is at it still.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from time import perf_counter
from typing import TYPE_CHECKING

from conduit import covers, reports, tasks
from conduit.errors import AppError, BusyError, DeferredError
from conduit.ports import Task, Writer

if TYPE_CHECKING:
    from conduit.services import Services

log = logging.getLogger(__name__)

# No request is at its task for longer: NGINX waits for no answer as long. Should one be, what it says at its end holds.
LONGEST_SECONDS = 60.0


class InlineTasks:
    """Does a task and what follows from it, in this thread. After ``seconds``, nothing more that follows is begun."""

    def __init__(self, services: Callable[[], "Services"], seconds: float) -> None:
        self._services = services
        self._seconds = seconds
        self._again: Timer | None = None
        self._alone = {name: Lock() for name, handler in tasks.HANDLERS.items() if handler.alone}

    def begin(self) -> None:
        """Give up what earlier processes left; once more when all that is under way now, wherever it is, is over."""
        self._give_up_left()
        self._again = Timer(LONGEST_SECONDS, self._give_up_left)
        self._again.daemon = True
        self._again.start()

    def end(self) -> None:
        if self._again is not None:
            self._again.cancel()

    def _give_up_left(self) -> None:
        """Say "failed" of what is "pending" for longer than a request can take.

        Where the database is away it is logged, and left to the next start: the app is of use without.
        """
        try:
            covers.give_up_left(self._services(), LONGEST_SECONDS)
            reports.give_up_left(self._services(), LONGEST_SECONDS)
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
