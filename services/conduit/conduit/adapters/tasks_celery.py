"""Tasks done by workers: the outbox keeps them, and Celery carries their messages through a broker.

A task is written in the transaction that makes it necessary. After the commit a thread publishes its message, so that
no request waits for the broker. If that fails, the relay of a worker publishes it (``outbox_worker.py``).
"""

import logging
import time
from queue import Empty, Full, Queue
from threading import Lock, Thread

from celery import Celery

from conduit import metrics, outbox
from conduit.ports import Task, Writer

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
        self._unsent: Queue[tuple[int, str] | None] = Queue(UNSENT)
        self._lock = Lock()
        self._publisher: Thread | None = None

    def begin(self) -> None:
        """Nothing: workers fail abandoned tasks."""

    def end(self) -> None:
        """Publish the remaining messages, for STOP_SECONDS at most."""
        if self._publisher is not None and self._publisher.is_alive():
            try:
                self._unsent.put_nowait(None)
            except Full:
                return
            self._publisher.join(STOP_SECONDS)

    def enqueue(self, writer: Writer, task: Task) -> None:
        outbox.enqueue(writer, task)

    def send(self, task: Task) -> None:
        with self._lock:
            if self._publisher is None or not self._publisher.is_alive():
                self._publisher = Thread(target=self._publish, name="task publisher", daemon=True)
                self._publisher.start()
        try:
            self._unsent.put_nowait((task.owner_id, task.key))
        except Full:
            metrics.TASKS_SENT.labels("left to the relay").inc()

    def publish(self, owner_id: int, key: str, attempts: int = 0) -> None:
        """Publish a message for a task that has had ``attempts``. Raises what Celery or its transport raises."""
        self._app.send_task(PERFORM, (owner_id, key), retries=attempts, ignore_result=True)

    def _publish(self) -> None:
        while (message := self._unsent.get()) is not None:
            try:
                self.publish(*message)
            except Exception as error:
                log.warning("tasks are left to the relay", extra={"cause": repr(error)})
                time.sleep(PAUSE_SECONDS)
                metrics.TASKS_SENT.labels("left to the relay").inc(1 + self._drop())
            else:
                metrics.TASKS_SENT.labels("sent").inc()

    def _drop(self) -> int:
        """Drop all waiting messages, but not the request to stop. Returns how many were dropped."""
        dropped = 0
        while True:
            try:
                message = self._unsent.get_nowait()
            except Empty:
                return dropped
            if message is None:
                self._unsent.put_nowait(None)
                return dropped
            dropped += 1
