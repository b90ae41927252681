"""A request class for Celery's worker that survives the loss of its broker at the end of a task.

Celery logs an acknowledgement that fails, and goes on. But a worker that has fetched as many messages as it may does
not read from its connection. So it does not see that the connection is lost, and the message counts as unacknowledged
for ever: with ``worker_prefetch_multiplier=1`` the worker fetches nothing any more. Celery has had several reports of
workers that stop like this, such as https://github.com/celery/celery/issues/10302.
"""

from typing import Any

import celery.worker.request
from kombu.asynchronous import get_event_loop


class ReconnectingRequest(celery.worker.request.Request):  # type: ignore[misc]
    """A message under way. If its acknowledgement fails, the worker reconnects."""

    def __init__(self, message: Any, *, connection_errors: tuple[type[Exception], ...] = (), **options: Any) -> None:
        # Without these errors Celery does not swallow them.
        super().__init__(message, connection_errors=(), **options)
        self._lost = connection_errors

    def acknowledge(self) -> None:
        try:
            super().acknowledge()
        except self._lost as error:
            _reconnect(error)

    def reject(self, requeue: bool = False) -> None:
        try:
            super().reject(requeue)
        except self._lost as error:
            _reconnect(error)


def _reconnect(error: Exception) -> None:
    """Raise the error in the main process's event loop: that is how Celery finds out that its connection is lost."""

    def lose() -> None:
        raise error

    loop = get_event_loop()
    assert loop is not None, "the main process runs it"
    loop.call_later(0, lose)  # type: ignore[no-untyped-call]  # kombu's loop has no types
