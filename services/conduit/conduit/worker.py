"""The worker: does tasks that are sent to it, says in their rows how that ended, and sends again what is due.

Celery's main process fetches the messages, watches over its only child and starts another when that one dies. All else
is in the child: a task at a time, as the box has memory for one image, and a thread that looks after the rows.

A message says where a row is, and the row says whether there is anything to do: so it does no harm that a queue may
deliver a message twice, or that another is sent for the same row.
"""

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import celery.worker.request
from celery import Celery, bootsteps, signals
from kombu.asynchronous import get_event_loop
from prometheus_client import start_http_server

from conduit import (
    covers,
    images,  # noqa: F401 - Pillow, loaded before the child is made, is shared
    metrics,
    reports,
    task_rows,
    tasks,
)
from conduit.adapters.tasks_celery import DO, CeleryTasks, queue_at
from conduit.bootstrap import bootstrap
from conduit.errors import AppError, DeferredError, InvalidError
from conduit.ports import Task
from conduit.services import Services
from conduit.settings import Settings
from conduit.task_rows import Taken

log = logging.getLogger(__name__)

# How often a task is tried, and the seconds between: twice as long each time, up to the longest. Ten minutes in all.
TRIES = 8
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0
# After which a try is told to end, and after which it is ended: the longest report of the large dataset took a tenth.
SOFT_SECONDS = 120
HARD_SECONDS = 150
SWEEP_SECONDS = 2.0
# The task's and the sweeper's, whatever the settings say: with an app's pool, many workers would have all that the
# database gives to clients.
POOL_SIZE = 2
MOST_SAID = 500  # characters of an error that are kept
ROUNDS_UNTIL_FORGOTTEN = 30
ROUNDS_UNTIL_GIVEN_UP = 300
# A task is noted in the request that keeps its upload, and no request takes as long.
LONGEST_SECONDS = 60.0
# Touched while the main process turns its loop; the box's health check asks how old it is.
ALIVE = Path("/tmp/worker-alive")  # noqa: S108 - the box's own, a memory file system
ALIVE_SECONDS = 5.0
# The main process waits for messages on a connection for seconds, so that its patience with the broker must be longer.
ANSWER_SECONDS = 15.0


class Worker:
    """Does tasks by their rows, for a box of this name."""

    def __init__(self, services: Services, queue: CeleryTasks, box: str) -> None:
        self._services = services
        self._queue = queue
        self._box = box
        self._at: Taken | None = None
        self._begun = False
        self._beginning = Lock()

    def do(self, owner_id: int, key: str) -> None:
        """Do a task, unless there is nothing to do, and say how it ended. What follows from it is noted with that."""
        self.begin()
        taken = task_rows.take(self._services.database, owner_id, key, self._box)
        if taken is None:
            return
        kind = tasks.kind_of(taken.task)
        metrics.TASK_WAITS.labels(kind).observe(taken.waited)
        self._at = taken
        try:
            self._try(taken)
        finally:
            self._at = None

    def _try(self, taken: Taken) -> None:
        try:
            follows = self._perform(taken)
        except InvalidError as error:
            # It would be so again.
            tasks.give_up(self._services, taken.task)
            self._close(taken, "dead", None, error)
        except DeferredError as error:
            self._again(taken, error, error.follows)
        except Exception as error:
            if not isinstance(error, AppError | AbandonedError):
                log.exception("a task failed", extra={"cause": taken.task.key})
            self._again(taken, error)
        else:
            self._close(taken, "done", task_rows.KEPT_SECONDS, follows=follows)

    def _perform(self, taken: Taken) -> Sequence[Task]:
        if taken.tries > TRIES:
            raise AbandonedError
        return tasks.perform(self._services, taken.task)

    def _again(self, taken: Taken, error: Exception, follows: Sequence[Task] = ()) -> None:
        if taken.tries >= TRIES:
            tasks.set_aside(self._services, taken.task)
            self._close(taken, "dead", None, error, follows)
        else:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (taken.tries - 1), LONGEST_PAUSE_SECONDS)
            self._close(taken, "failed", pause, error, follows)

    def _close(
        self,
        taken: Taken,
        state: str,
        seconds: float | None,
        error: Exception | None = None,
        follows: Sequence[Task] = (),
    ) -> None:
        said = None if error is None else _said(error)
        with self._services.database.writing(tasks.owner_of(taken.task)) as writer:
            now = task_rows.close(writer, taken, state, seconds, said)
            if now is not None:
                for task in follows:
                    task_rows.follow(writer, task)
        metrics.TASKS_CLOSED.labels(tasks.kind_of(taken.task), "lost" if now is None else state).inc()
        if said is not None:
            log.warning("a task is %s", state, extra={"cause": f"{taken.task.key}, try {taken.tries}: {said}"})
        if now is None:
            log.warning("a task took so long that another box has it", extra={"cause": taken.task.key})
            return
        for task in (*follows, *((taken.task,) if now == "waiting" else ())):
            self._queue.send(task)

    # Looking after the rows ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Before anything is taken, give back what this box was at when it died."""
        with self._beginning:
            if not self._begun:
                task_rows.release(self._services.database, self._box)
                self._begun = True

    def look_after(self) -> None:
        """Hold what is being done, and send again what is due. Raises what the database or the broker raises."""
        self.begin()
        if (at := self._at) is not None:
            task_rows.hold(self._services.database, at)
        if sent := task_rows.sweep(self._services.database, self._queue.publish):
            metrics.TASKS_SENT.labels("sent again").inc(sent)

    def forget(self) -> None:
        task_rows.forget(self._services.database)

    def give_up_left(self) -> None:
        """Give up what waits without a row: an app that had no queue died at it, or its transaction never came."""
        # The rows first: what is noted after that is too young to be given up.
        known = task_rows.not_done(self._services.database, covers.TASK)
        covers.give_up_left(self._services, LONGEST_SECONDS, known)
        known = task_rows.not_done(self._services.database, reports.TASK)
        reports.give_up_left(self._services, LONGEST_SECONDS, known)


def _said(error: Exception) -> str:
    """A line about what went wrong."""
    if isinstance(error, AppError):
        return "; ".join(f"{field} {text}" for field, texts in error.errors.items() for text in texts)[:MOST_SAID]
    return repr(error)[:MOST_SAID]


class AbandonedError(Exception):
    """Whoever was at it died, each time: it may be the task that kills."""


class Sweeper(Thread):
    """Looks after the rows until it is told to end, whatever goes wrong meanwhile."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(name="sweeper", daemon=True)
        self._worker = worker
        self._over = Event()

    def run(self) -> None:
        rounds = 0
        while True:
            try:
                self._worker.look_after()
                if rounds % ROUNDS_UNTIL_FORGOTTEN == 0:
                    self._worker.forget()
                if rounds % ROUNDS_UNTIL_GIVEN_UP == 0:
                    self._worker.give_up_left()
            except Exception as error:
                log.warning("the rows are not looked after", extra={"cause": repr(error)})
            rounds += 1
            # Not in step with the other workers', who look for the same.
            if self._over.wait(SWEEP_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                return

    def end(self) -> None:
        self._over.set()
        self.join(SWEEP_SECONDS)


class Alive(bootsteps.StartStopStep):  # type: ignore[misc]
    """The main process says every few seconds that it turns its loop, which it does not while the broker is away."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        ALIVE.touch()
        worker.timer.call_repeatedly(ALIVE_SECONDS, ALIVE.touch)


class Request(celery.worker.request.Request):  # type: ignore[misc]
    """A message under way whose acknowledgement, where it can't be given, ends the connection.

    Celery only logs that. But a worker that has as many messages as it may fetch does not listen to its connection, so
    that it took the lost acknowledgement for a message under way, and never fetched another.
    """

    def __init__(self, message: Any, *, connection_errors: tuple[type[Exception], ...] = (), **options: Any) -> None:
        super().__init__(message, connection_errors=(), **options)
        self._lost = connection_errors

    def acknowledge(self) -> None:
        try:
            super().acknowledge()
        except self._lost as error:
            _connect_again(error)

    def reject(self, requeue: bool = False) -> None:
        try:
            super().reject(requeue)
        except self._lost as error:
            _connect_again(error)


def _connect_again(error: Exception) -> None:
    """Tell the main process's loop, which does so by itself where it is told by an error of the connection."""

    def tell() -> None:
        raise error

    loop = get_event_loop()
    assert loop is not None, "the main process runs it"
    loop.call_later(0, tell)  # type: ignore[no-untyped-call]  # kombu's loop has no types


def run(settings: Settings) -> int:
    """Work until told to stop; the exit code. At SIGTERM the task that is under way is finished first."""
    assert settings.broker_url is not None, "whoever calls this has looked"
    app = queue_at(settings.broker_url, ANSWER_SECONDS)
    _configure(app)
    child = Child(settings)
    app.task(child.do, name=DO, Request=Request)
    signals.setup_logging.connect(_leave_logging_alone)
    signals.worker_process_init.connect(child.begin)
    signals.worker_process_shutdown.connect(child.end)
    worker = app.Worker(
        pool="prefork", concurrency=1, without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True
    )
    worker.start()
    return int(worker.exitcode or 0)


def _configure(app: Celery) -> None:
    app.conf.update(
        # Acknowledged when it is done; and who dies before leaves it to another.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_soft_time_limit=SOFT_SECONDS,
        task_time_limit=HARD_SECONDS,
        # A worker outlives its broker.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A child may take long to start on a box that is busy.
        worker_proc_alive_timeout=60.0,
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
    )
    app.steps["worker"].add(Alive)
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _leave_logging_alone(**_: Any) -> None:
    """With somebody who listens to this signal, Celery sets up no logging of its own."""


class Child:
    """What the child process holds, from its start on."""

    def __init__(self, settings: Settings) -> None:
        # It serves no pages, and need not hold them in its memory.
        self._settings = settings.model_copy(update={"pool_size": POOL_SIZE, "web_dir": None})
        self._services: Services | None = None
        self._worker: Worker | None = None
        self._sweeper: Sweeper | None = None

    def begin(self, **_: Any) -> None:
        self._services = bootstrap(self._settings)
        assert isinstance(self._services.tasks, CeleryTasks), "a broker is set"
        log.info("started", extra={"backends": self._services.backends})
        self._worker = Worker(self._services, self._services.tasks, self._settings.box_name)
        self._sweeper = Sweeper(self._worker)
        self._sweeper.start()
        start_http_server(self._settings.metrics_port)

    def do(self, owner_id: int, key: str) -> None:
        assert self._worker is not None, "begun before any task comes"
        self._worker.do(owner_id, key)

    def end(self, **_: Any) -> None:
        if self._sweeper is not None:
            self._sweeper.end()
        if self._services is not None:
            self._services.after_requests()
            self._services.close()
