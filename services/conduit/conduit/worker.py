"""The worker: a Celery worker that performs the outbox's tasks. ``python -m conduit worker``.

Celery's main process fetches the messages, and restarts its only child process if that dies. The child has the database
connections, the metrics, the heartbeat and the relay. It performs one task at a time: its container has memory for one
image.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import celery
from celery import Celery, bootsteps, signals
from prometheus_client import start_http_server

from conduit import images  # noqa: F401 - imported before the fork, so that libvips is in shared memory
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

# Celery's soft and hard time limits for one attempt.
SOFT_SECONDS = 120
HARD_SECONDS = 150
# Retries that a worker holds in memory until they are due. At this limit it fetches no more messages.
ETA_LIMIT = 1_000
# One connection for the task, and one for the heartbeat and the relay, which wait for each other no longer than a
# transaction takes. With pools as large as an app's, many workers would exhaust the database's connections.
POOL_SIZE = 2
# Here the main process keeps the time, in seconds, while it runs its event loop; the container's health check reads it.
ALIVE = Path("/tmp/worker-alive")  # noqa: S108 - the container's own memory file system
ALIVE_SECONDS = 5.0
# The main process blocks for seconds on a read of new messages, so its timeout must be longer.
ANSWER_SECONDS = 15.0


def add_task(app: Celery, perform: Callable[[int, str, int, int], None]) -> celery.Task:
    """Define the only Celery task: it performs the task of an outbox row, with Celery's retries."""

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
        # If the child dies, the message is retried; if the retry can't be sent, it goes back to its queue.
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
    """Run the worker until it is stopped. Returns the exit code. At SIGTERM it first finishes the current task."""
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
        # A worker survives a broker that is down.
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
    """While this signal has a receiver, Celery does not configure logging."""


class Alive(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps the time in a file while the main process runs its event loop: not while the broker is down."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        _keep_time()
        worker.timer.call_repeatedly(ALIVE_SECONDS, _keep_time)


def _keep_time() -> None:
    ALIVE.write_text(f"{time.time():.0f}\n")


class Child:
    """The child process. It starts after the fork, which threads and connections do not survive."""

    def __init__(self, settings: Settings) -> None:
        # It serves no pages, so it does not load them.
        self._settings = settings.model_copy(update={"pool_size": POOL_SIZE, "web_dir": None})
        self._services: Services | None = None
        self._worker: OutboxWorker | None = None
        self._rounds: list[Heartbeat | Relay] = []

    def begin(self, **_: Any) -> None:
        self._services = services = bootstrap(self._settings)
        assert isinstance(services.tasks, CeleryTasks), "a broker is set"
        log.info("started", extra={"backends": services.backends, "addresses": services.addresses})
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
