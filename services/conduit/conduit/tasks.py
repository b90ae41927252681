"""The handlers of background tasks: how each kind is performed, and how it fails for good.

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

# No request takes longer: NGINX's timeout is shorter. So a task that a request started longer ago was interrupted.
LONGEST_REQUEST_SECONDS = 60.0
# Old results of one kind that are deleted at once, unless the caller says otherwise.
MOST_EXPIRED = 1_000


class IncompleteError(Exception):
    """A part of the task is left for another attempt. The follow-up tasks in ``follows`` need not wait for it."""

    def __init__(self, cause: str, follows: Sequence[Task]) -> None:
        super().__init__(cause)
        self.follows = follows


def _nothing(*_: object) -> None: ...


@dataclass(frozen=True)
class Handler:
    """How one kind of task is performed. ``kind`` labels its metrics.

    ``perform`` returns the follow-up tasks. It is idempotent, and its article or report may be gone. It raises
    InvalidError if another attempt would fail the same way, and IncompleteError if a part is left.

    ``fail`` marks the task's result as failed, in a transaction of the task's owner. ``discard`` deletes what another
    attempt would need. ``fail_abandoned`` fails what has been pending for so many seconds, except for tasks with the
    given keys. ``expire`` deletes results that are too old, up to a number of them. A process performs one task of an
    ``exclusive`` kind at a time, because it takes much memory.
    """

    kind: str
    task: type[Task]
    perform: Callable[[Any], Sequence[Task]]
    fail: Callable[[Writer, Any], None] = _nothing
    discard: Callable[[Any], None] = _nothing
    fail_abandoned: Callable[[float, Collection[str]], None] = _nothing
    expire: Callable[[int], None] = _nothing
    exclusive: bool = False


class Handlers:
    """The handlers, by the name of their task."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = {handler.task.name: handler for handler in handlers}

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def of(self, task: Task) -> Handler:
        return self._handlers[task.name]

    def decode(self, name: str, arguments: Mapping[str, Any]) -> Task:
        """The task from its stored name and arguments. Raises InvalidError for an unknown name or wrong arguments."""
        handler = self._handlers.get(name)
        if handler is None:
            raise InvalidError({"task": [f"has no handler: {name}"]})
        try:
            return msgspec.convert(arguments, handler.task)
        except msgspec.ValidationError as error:
            raise InvalidError({"task": [f"has wrong arguments: {error}"]}) from error

    def perform(self, task: Task) -> Sequence[Task]:
        """Perform and measure the task. Returns its follow-up tasks. Raises what its handler raises."""
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
        """Fail what has been pending for longer than any request takes, and has no task.

        ``known`` gives the keys of the stored tasks with a name. It is called first: a task that is enqueued later
        belongs to something that has not been pending for long. Raises what the adapters raise.
        """
        for name, handler in self._handlers.items():
            keys = known(name)
            handler.fail_abandoned(LONGEST_REQUEST_SECONDS, keys)

    def expire(self, most: int = MOST_EXPIRED) -> None:
        """Delete results that are too old, ``most`` of each kind. Raises what the adapters raise."""
        for handler in self:
            handler.expire(most)
