"""Slow work by name, wherever it is done: inside the request now, by a worker later.

What a handler does may be done twice, and begin when what it is about is gone: each looks first and then writes the
same again.
"""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

from conduit import announcements, covers, metrics, reports
from conduit.ports import Task
from conduit.timing import tally

if TYPE_CHECKING:  # it holds the Tasks that come here
    from conduit.services import Services

Arguments = Mapping[str, Any]


class Handler(NamedTuple):
    """How a task is done, and what is left in its place once it is given up. ``kind`` names its time and its CPU.

    ``owner`` is the argument with the id whose logical shard the task's row is on. ``set_aside``, where it is not the
    same as giving up, leaves what the task needs to be done after all. ``alone`` are those that take long and hold much
    in memory, with nobody before them who lets in one at a time: no process does two of a kind at once.
    """

    kind: str
    work: Callable[["Services", Arguments], Sequence[Task]]
    give_up: Callable[["Services", Arguments], None]
    owner: str
    set_aside: Callable[["Services", Arguments], None] | None = None
    alone: bool = False


HANDLERS = {
    covers.TASK: Handler("image", covers.make, covers.give_up, "article_id", covers.set_aside),
    announcements.TASK: Handler("mail", announcements.to_followers, announcements.give_up, "article_id"),
    reports.TASK: Handler("report", reports.make, reports.give_up, "report_id", alone=True),
}


def perform(services: "Services", task: Task) -> Sequence[Task]:
    """Do the work once; return the tasks that follow from it. Raises what went wrong: InvalidError where doing it again
    is no use, UnavailableError where it is.
    """
    handler = HANDLERS[task.name]
    started, cpu_started = perf_counter(), thread_time()
    try:
        return handler.work(services, task.arguments)
    except Exception:
        metrics.TASK_FAILURES.labels(handler.kind).inc()
        raise
    finally:
        seconds = perf_counter() - started
        metrics.TASK_CPU.labels(handler.kind).inc(thread_time() - cpu_started)
        metrics.TASKS.labels(handler.kind).observe(seconds)
        if (request := tally.get()) is not None:
            request.add_task(handler.kind, seconds)


def give_up(services: "Services", task: Task) -> None:
    """Say in the task's row, if it has one, that nobody is at it any more."""
    HANDLERS[task.name].give_up(services, task.arguments)


def set_aside(services: "Services", task: Task) -> None:
    """Say so of a task that has had all its tries, and may be given more by hand."""
    handler = HANDLERS[task.name]
    (handler.set_aside or handler.give_up)(services, task.arguments)


def kind_of(task: Task) -> str:
    return HANDLERS[task.name].kind


def owner_of(task: Task) -> int:
    """The id whose logical shard holds what the task is about."""
    return int(task.arguments[HANDLERS[task.name].owner])


def dropped(task: Task) -> None:
    """Count a task that was due and is not even begun."""
    metrics.TASKS_DROPPED.labels(HANDLERS[task.name].kind).inc()
