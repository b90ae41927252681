"""Tasks done by workers: the outbox keeps them, and Celery carries their messages through a broker.

A task is written in the transaction that makes it necessary. After the commit a thread publishes its message, so that
no request waits for the broker. If that fails, the relay of a worker publishes it (``outbox_worker.py``).
"""

import logging
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

from celery import Celery

from conduit import metrics, outbox
from conduit.ports import Enqueued, Task, Writer

log = logging.getLogger(__name__)

PERFORM = "conduit.perform"
QUEUE = "conduit"
# An unacknowledged message is delivered again after this time. A worker holds a message until its retry is due and the
# task is done, so this must be longer than both together, which a test checks.
VISIBILITY_SECONDS = 600
ANSWER_SECONDS = 1.0
# The most messages that wait for the thread, and the thread's pause after a failure.
UNSENT = 1_000
PAUSE_SECONDS = 1.0
STOP_SECONDS = 2.0


def celery_app(broker_url: str, answer_seconds: float = ANSWER_SECONDS) -> Celery:
    """The Celery app of publishers and workers; ``answer_seconds`` is the timeout of its calls to the broker."""
    app = Celery("conduit", broker=broker_url, set_as_current=False)
    app.conf.update(
        # Celery wants the visibility timeout in three places:
        # https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_timeout": answer_seconds,
            "socket_connect_timeout": answer_seconds,
            "socket_keepalive": True,
            "max_retries": 0,
            "interval_start": 0,
        },
        result_backend_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
        visibility_timeout=VISIBILITY_SECONDS,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_publish_retry=False,
        broker_pool_limit=2,
    )
    return app


class CeleryTasks:
    """Writes tasks into the outbox, and publishes their messages from a thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._unsent: Queue[tuple[int, str, int] | None] = Queue(UNSENT)
        self._lock = Lock()
        self._publisher: Thread | None = None
        self._stopped = Event()

    def begin(self) -> None:
        """Nothing: workers fail abandoned tasks."""

    def end(self) -> None:
        """Publish the remaining messages, for STOP_SECONDS at most."""
        self._stopped.set()
        with suppress(Full):
            self._unsent.put_nowait(None)
        if self._publisher is not None:
            self._publisher.join(STOP_SECONDS)
        self._leave_to_the_relay()

    def enqueue(self, writer: Writer, task: Task) -> Enqueued:
        return outbox.enqueue(writer, task)

    def send(self, enqueued: Enqueued) -> None:
        with self._lock:
            if self._publisher is None or not self._publisher.is_alive():
                self._publisher = Thread(target=self._publish, name="task publisher", daemon=True)
                self._publisher.start()
        try:
            self._unsent.put_nowait((enqueued.task.owner_id, enqueued.task.key, enqueued.generation))
        except Full:
            metrics.TASKS_SENT.labels("left to the relay").inc()

    def publish(self, owner_id: int, key: str, generation: int, attempts: int = 0) -> None:
        """Publish a message for a task that has had ``attempts``. Raises what Celery or its transport raises."""
        self._app.send_task(PERFORM, (owner_id, key, generation), retries=attempts, ignore_result=True)

    def _publish(self) -> None:
        while True:
            try:
                # None only ends the wait of a thread that finds the queue empty: at the end a full one takes no more.
                message = self._unsent.get(block=not self._stopped.is_set())
            except Empty:
                return
            if message is not None:
                self._publish_or_pause(*message)

    def _publish_or_pause(self, owner_id: int, key: str, generation: int) -> None:
        try:
            self.publish(owner_id, key, generation)
        except Exception as error:
            log.warning("tasks are left to the relay", extra={"cause": repr(error)})
            metrics.TASKS_SENT.labels("left to the relay").inc()
            self._stopped.wait(PAUSE_SECONDS)
            self._leave_to_the_relay()
        else:
            metrics.TASKS_SENT.labels("sent").inc()

    def _leave_to_the_relay(self) -> None:
        """Empty the queue, and count what was in it."""
        with suppress(Empty):
            while True:
                if self._unsent.get_nowait() is not None:
                    metrics.TASKS_SENT.labels("left to the relay").inc()
