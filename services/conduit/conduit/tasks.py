"""Slow work: what does each kind of task, and what is left in its place when it fails for good.

``bootstrap.py`` binds the handlers to the adapters that they use. ``adapters/tasks_inline.py`` calls them inside the
request; ``outbox_worker.py`` calls them in a worker.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any

import msgspec

from conduit import metrics
from conduit.errors import InvalidError
from conduit.ports import Task, Writer
from conduit.timing import tally

# A request takes no longer: NGINX waits for no answer as long. So what a request of this app began and has not
# finished by then was interrupted.
LONGEST_REQUEST_SECONDS = 60.0


class IncompleteError(Exception):
    """A part of a task is left, for another attempt. ``follows`` are the tasks that need not wait for that."""

    def __init__(self, cause: str, follows: Sequence[Task]) -> None:
        super().__init__(cause)
        self.follows = follows


def _nothing(*_: object) -> None: ...


@dataclass(frozen=True)
class Handler:
    """What does one kind of task. ``kind`` labels its metrics.

    ``perform`` returns the tasks that follow from it. It is idempotent, and what the task is about may be gone. It
    raises InvalidError where another attempt would end the same way, IncompleteError where a part is left.

    ``fail`` says in a transaction of the task's owner that the task is not done. ``discard`` deletes what another
    attempt would need. ``fail_abandoned`` fails what has been pending for so many seconds, except for the tasks with
    these keys. Of a kind that is ``exclusive``, because it takes much memory, a process does one at a time.
    """

    kind: str
    task: type[Task]
    perform: Callable[[Any], Sequence[Task]]
    fail: Callable[[Writer, Any], None] = _nothing
    discard: Callable[[Any], None] = _nothing
    fail_abandoned: Callable[[float, Collection[str]], None] = _nothing
    exclusive: bool = False


class Handlers:
    """The handlers by the names of their tasks."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = {handler.task.name: handler for handler in handlers}

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def of(self, task: Task) -> Handler:
        return self._handlers[task.name]

    def decode(self, name: str, arguments: Mapping[str, Any]) -> Task:
        """The task from what was stored of it. Raises InvalidError where no handler knows it."""
        handler = self._handlers.get(name)
        if handler is None:
            raise InvalidError({"task": [f"has no handler: {name}"]})
        try:
            return msgspec.convert(arguments, handler.task)
        except msgspec.ValidationError as error:
            raise InvalidError({"task": [f"has wrong arguments: {error}"]}) from error

    def perform(self, task: Task) -> Sequence[Task]:
        """Do the task, and measure it; the tasks that follow from it. Raises what its handler raises."""
        handler = self.of(task)
        started, cpu_started = perf_counter(), thread_time()
        try:
            return handler.perform(task)
        except Exception:
            metrics.TASK_FAILURES.labels(handler.kind).inc()
            raise
        finally:
            seconds = perf_counter() - started
            metrics.TASK_CPU.labels(handler.kind).inc(thread_time() - cpu_started)
            metrics.TASKS.labels(handler.kind).observe(seconds)
            if (request := tally.get()) is not None:
                request.add_task(handler.kind, seconds)

    def fail_abandoned(self, known: Callable[[str], Collection[str]] = lambda _name: ()) -> None:
        """Fail what has been pending for longer than a request takes, and has no task.

        ``known`` gives the keys of the tasks of a name. It is asked first: a task that is enqueued after that belongs
        to something that has not been pending for long. Raises what the adapters raise.
        """
        for name, handler in self._handlers.items():
            keys = known(name)
            handler.fail_abandoned(LONGEST_REQUEST_SECONDS, keys)
