"""Tasks sent to workers through a broker, by Celery: whoever asks for slow work has an answer before it is done.

What is sent is only where the task's row is. The row was written with what makes the task necessary (``task_rows``), so
that a message that is lost, or was never sent, costs time and nothing else: a worker sends again what is due. That is
why no request waits for the broker. A thread beside them sends, and gives up soon.
"""

import logging
import time
from queue import Empty, Full, Queue
from threading import Lock, Thread

from celery import Celery

from conduit import metrics, task_rows
from conduit.ports import Task, Writer
from conduit.tasks import owner_of

log = logging.getLogger(__name__)

DO = "conduit.do"
QUEUE = "conduit"
# Unacknowledged for so long, a message is given to another worker. Longer than any task may take (worker.py).
VISIBILITY_SECONDS = 300
ANSWER_SECONDS = 1.0
# Kept here until the thread has sent them, and after a failure how long nobody tries.
AT_MOST = 1_000
PAUSE_SECONDS = 1.0
STOP_SECONDS = 2.0


def queue_at(broker_url: str, answer_seconds: float = ANSWER_SECONDS) -> Celery:
    """Celery's app for both ends of the queue; ``answer_seconds`` is its patience with the broker."""
    app = Celery("conduit", broker=broker_url, set_as_current=False)
    app.conf.update(
        # In these three places: https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
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
    """Notes tasks in the transactions that need them, and tells the workers beside the requests."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._unsent: Queue[tuple[int, str] | None] = Queue(AT_MOST)
        self._lock = Lock()
        self._sender: Thread | None = None

    def begin(self) -> None:
        """Nothing: what an earlier process left is in its row, and is done. What has none is given up by a worker."""

    def end(self) -> None:
        """Send what is left, where that is soon done."""
        if self._sender is not None and self._sender.is_alive():
            try:
                self._unsent.put_nowait(None)
            except Full:
                return
            self._sender.join(STOP_SECONDS)

    def note(self, writer: Writer, task: Task) -> None:
        task_rows.note(writer, task)

    def send(self, task: Task) -> None:
        with self._lock:
            if self._sender is None or not self._sender.is_alive():
                self._sender = Thread(target=self._send, name="task sender", daemon=True)
                self._sender.start()
        try:
            self._unsent.put_nowait((owner_of(task), task.key))
        except Full:
            metrics.TASKS_SENT.labels("left to the sweeper").inc()

    def publish(self, owner_id: int, key: str) -> None:
        """Put a message into the queue. Raises what Celery or its transport raises where the broker is no help."""
        self._app.send_task(DO, (owner_id, key), ignore_result=True)

    def _send(self) -> None:
        while (message := self._unsent.get()) is not None:
            try:
                self.publish(*message)
            except Exception as error:
                # Whatever it is, the row is there, and so the sweeper sends it.
                log.warning("tasks are left to the sweeper", extra={"cause": repr(error)})
                time.sleep(PAUSE_SECONDS)
                metrics.TASKS_SENT.labels("left to the sweeper").inc(1 + self._drop())
            else:
                metrics.TASKS_SENT.labels("sent").inc()

    def _drop(self) -> int:
        """Empty the queue of what is unsent; how many there were. An end that is asked for stays."""
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
