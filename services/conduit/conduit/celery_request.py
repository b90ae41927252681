"""A request class for Celery's worker that survives the loss of its broker at the end of a task.

Celery logs a failed acknowledgement and goes on. But a worker at its prefetch limit does not read from its connection.
So it never notices that the connection is lost, and the message counts as unacknowledged forever: with
``worker_prefetch_multiplier=1`` the worker fetches no more messages. Celery has several reports of workers that stop
like this, such as https://github.com/celery/celery/issues/10302.
"""

from typing import Any

import celery.worker.request
from kombu.asynchronous import get_event_loop


class ReconnectingRequest(celery.worker.request.Request):  # type: ignore[misc]
    """A request whose worker reconnects if the acknowledgement fails."""

    def __init__(self, message: Any, *, connection_errors: tuple[type[Exception], ...] = (), **options: Any) -> None:
        # With an empty tuple, Celery does not swallow these errors.
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
    """Raise the error in the main process's event loop, so that Celery notices the lost connection."""

    def lose() -> None:
        raise error

    loop = get_event_loop()
    assert loop is not None, "the main process runs it"
    loop.call_later(0, lose)  # type: ignore[no-untyped-call]  # kombu's loop has no types
