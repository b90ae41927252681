"""The worker: a Celery worker that does the tasks of the outbox. ``python -m conduit worker``.

Celery's main process fetches the messages, and restarts its only child when that dies. The child has the database, the
metrics, the heartbeat and the relay, and does one task at a time: its container has memory for one image.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import celery
from celery import Celery, bootsteps, signals
from prometheus_client import start_http_server

from conduit import images  # noqa: F401 - loaded before the child is forked, its library is shared
from conduit.adapters.tasks_celery import PERFORM, CeleryTasks, celery_app
from conduit.bootstrap import bootstrap
from conduit.celery_request import ReconnectingRequest
from conduit.outbox_worker import (
    MAX_RETRIES,
    RETRY_BACKOFF,
    RETRY_BACKOFF_MAX,
    AttemptError,
    Heartbeat,
    OutboxWorker,
    Relay,
)
from conduit.services import Services
from conduit.settings import Settings

log = logging.getLogger(__name__)

# When an attempt is told to end, and when its process is killed: the longest report of the large dataset took a tenth.
SOFT_SECONDS = 120
HARD_SECONDS = 150
# Retries that one worker holds in memory until they are due. With this many it fetches nothing more.
ETA_LIMIT = 1_000
# One each for the task, the heartbeat and the relay. With an app's pool, many workers would use up the database's
# connections.
POOL_SIZE = 3
# Touched while the main process runs its event loop; the container's health check asks how old it is.
ALIVE = Path("/tmp/worker-alive")  # noqa: S108 - the container's own memory file system
ALIVE_SECONDS = 5.0
# The main process waits for messages on a connection for seconds, so its timeout must be longer.
ANSWER_SECONDS = 15.0


def add_task(app: Celery, perform: Callable[[int, str, int, int], None]) -> celery.Task:
    """Define the only task that there is: do what a row of the outbox says, with Celery's retries."""

    @app.task(  # type: ignore[untyped-decorator]  # Celery has no types
        bind=True,
        name=PERFORM,
        Request=ReconnectingRequest,
        autoretry_for=(AttemptError,),
        retry_backoff=RETRY_BACKOFF,
        retry_backoff_max=RETRY_BACKOFF_MAX,
        retry_jitter=True,
        max_retries=MAX_RETRIES,
        acks_late=True,
        # Where the child dies, the message is retried; where that can't be sent, it goes back to its queue.
        retry_on_worker_lost=True,
        default_retry_delay=RETRY_BACKOFF,
        reject_on_worker_lost=True,
        soft_time_limit=SOFT_SECONDS,
        time_limit=HARD_SECONDS,
    )
    def perform_task(self: celery.Task, owner_id: int, key: str, generation: int) -> None:
        perform(owner_id, key, generation, self.request.retries)

    return perform_task


def run(settings: Settings) -> int:
    """Work until told to stop; the exit code. At SIGTERM the task that is under way is finished first."""
    assert settings.broker_url is not None, "the caller has checked"
    app = celery_app(settings.broker_url, ANSWER_SECONDS)
    _configure(app)
    child = Child(settings)
    add_task(app, child.perform)
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
        worker_prefetch_multiplier=1,
        worker_eta_task_limit=ETA_LIMIT,
        # A worker outlives its broker.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A child may take long to start on a busy machine.
        worker_proc_alive_timeout=60.0,
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=False,
    )
    app.steps["worker"].add(Alive)
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _leave_logging_alone(**_: Any) -> None:
    """Where this signal has a receiver, Celery sets up no logging of its own."""


class Alive(bootsteps.StartStopStep):  # type: ignore[misc]
    """Touches a file while the main process runs its event loop, which it does not while the broker is away."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        ALIVE.touch()
        worker.timer.call_repeatedly(ALIVE_SECONDS, ALIVE.touch)


class Child:
    """What the child process holds. It is made after the fork, since threads and connections do not survive that."""

    def __init__(self, settings: Settings) -> None:
        # It serves no pages, so it need not hold them in memory.
        self._settings = settings.model_copy(update={"pool_size": POOL_SIZE, "web_dir": None})
        self._services: Services | None = None
        self._worker: OutboxWorker | None = None
        self._rounds: list[Heartbeat | Relay] = []

    def begin(self, **_: Any) -> None:
        self._services = services = bootstrap(self._settings)
        assert isinstance(services.tasks, CeleryTasks), "a broker is set"
        log.info("started", extra={"backends": services.backends})
        self._worker = OutboxWorker(services.database, services.handlers, services.tasks, self._settings.box_name)
        self._rounds = [Heartbeat(self._worker), Relay(self._worker)]
        for thread in self._rounds:
            thread.start()
        start_http_server(self._settings.metrics_port)

    def perform(self, owner_id: int, key: str, generation: int, retries: int) -> None:
        assert self._worker is not None, "a child begins before it gets a task"
        self._worker.perform(owner_id, key, generation, retries)

    def end(self, **_: Any) -> None:
        for thread in self._rounds:
            thread.stop()
        if self._services is not None:
            self._services.after_requests()
            self._services.close()
