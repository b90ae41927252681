"""Performs the outbox's tasks when Celery delivers their messages, and sends lost messages again.

Celery may deliver a message twice, late, or not at all. The row decides: an attempt is claimed before it begins, its
lease is renewed while it runs, and its end is written together with its follow-up tasks.
"""

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock, Thread

from celery.exceptions import Reject

from conduit import metrics, outbox
from conduit.adapters.tasks_celery import CeleryTasks
from conduit.errors import AppError, InvalidError, UnavailableError
from conduit.outbox import Claim, Claimed
from conduit.outbox_statements import Due
from conduit.ports import Database, Task
from conduit.tasks import Handlers, IncompleteError

log = logging.getLogger(__name__)

# Celery's retries: exponential backoff from 5 s up to 5 minutes, with full jitter.
MAX_RETRIES = 9
RETRY_BACKOFF = 5
RETRY_BACKOFF_MAX = 300
# The relay sends a retry this much later than Celery would.
GRACE_SECONDS = 10.0
ERROR_LENGTH = 500
# The pause before a message goes back to its queue, while the database is down.
PAUSE_SECONDS = 1.0

ROUND_SECONDS = 2.0
ROUNDS_UNTIL_PURGE = 30
ROUNDS_UNTIL_ABANDONED = 300
# Each result takes a transaction and a call to the media store, while no message is sent again. So few are deleted in a
# round, which makes about 1,000 an hour.
ROUNDS_UNTIL_EXPIRED = 90
EXPIRED_AT_ONCE = 50


class AttemptError(Exception):
    """Makes Celery retry. It is pickled for Celery's main process, so it holds only text."""


class LostError(Exception):
    """Every attempt ended with the death of its worker: the task itself may kill it."""

    def __init__(self) -> None:
        super().__init__("the worker died at the last attempt")


class OutboxWorker:
    """Performs one task at a time. ``name`` is the worker's name in claims."""

    def __init__(self, database: Database, handlers: Handlers, tasks: CeleryTasks, name: str) -> None:
        self._database = database
        self._handlers = handlers
        self._tasks = tasks
        self._name = name
        self._claim: Claim | None = None
        self._started = False
        self._starting = Lock()

    def start(self) -> None:
        """Before the first claim, release the claims that this worker held when it died."""
        with self._starting:
            if not self._started:
                outbox.requeue(self._database, self._name)
                self._started = True

    def perform(self, owner_id: int, key: str, generation: int, retries: int) -> None:
        """Perform the task of a message, after so many ``retries``.

        Raises AttemptError to make Celery retry, and Reject to make it deliver the message again: while the database is
        down, no attempt begins and none is counted.
        """
        try:
            self.start()
            claimed = outbox.claim(self._database, Due(owner_id, key, generation, retries), self._name)
        except UnavailableError as error:
            time.sleep(PAUSE_SECONDS)
            raise Reject(error, requeue=True) from error
        if claimed is None:
            return
        self._claim = claimed.claim
        try:
            self._attempt(claimed)
        finally:
            self._claim = None

    def _attempt(self, claimed: Claimed) -> None:
        task = None
        try:
            task = self._handlers.decode(claimed.name, claimed.arguments)
            metrics.TASK_WAITS.labels(self._handlers.of(task).kind).observe(claimed.waited)
            follows = self._perform(task, claimed.claim)
        except InvalidError as error:
            # Another attempt would fail the same way.
            self._end(claimed.claim, task, "dead", error)
        except IncompleteError as error:
            self._retry(claimed.claim, task, error, error.follows)
        except Exception as error:
            if not isinstance(error, AppError | LostError):
                log.exception("a task raised an unexpected error", extra={"cause": claimed.claim.key})
            self._retry(claimed.claim, task, error)
        else:
            self._end(claimed.claim, task, "done", follows=follows)

    def _perform(self, task: Task, claim: Claim) -> Sequence[Task]:
        if claim.attempts > MAX_RETRIES + 1:
            raise LostError
        try:
            return self._handlers.perform(task)
        except InvalidError:
            self._handlers.of(task).discard(task)
            raise

    def _retry(self, claim: Claim, task: Task | None, error: Exception, follows: Sequence[Task] = ()) -> None:
        """Make Celery retry, or write a dead letter after the last attempt."""
        if claim.attempts > MAX_RETRIES:
            self._end(claim, task, "dead", error, follows)
        elif self._end(claim, task, "retrying", error, follows):
            # Only after the commit, so that the retry finds the row in its new state.
            raise AttemptError(_text(error)) from error

    def _end(
        self,
        claim: Claim,
        task: Task | None,
        state: str,
        error: Exception | None = None,
        follows: Sequence[Task] = (),
    ) -> bool:
        """Write how an attempt ended. Returns whether it still held its claim."""
        with self._database.writing(claim.owner_id) as writer:
            if state == "done":
                ours = outbox.finish(writer, claim)
            elif state == "retrying":
                longest = min(RETRY_BACKOFF * 2 ** (claim.attempts - 1), RETRY_BACKOFF_MAX)
                ours = outbox.fail(writer, claim, _text(error), longest + GRACE_SECONDS)
            else:
                ours = outbox.dead_letter(writer, claim, _text(error))
                if ours and task is not None:
                    self._handlers.of(task).fail(writer, task)
            # One that is there already was enqueued by an earlier attempt.
            enqueued = [outbox.enqueue_next(writer, following) for following in follows] if ours else []
        kind = "unknown" if task is None else self._handlers.of(task).kind
        metrics.TASKS_CLOSED.labels(kind, state if ours else "lost").inc()
        if error is not None:
            cause = f"{claim.key}, attempt {claim.attempts}: {_text(error)}"
            log.warning("a task is %s", state, extra={"cause": cause})
        if not ours:
            log.warning("an attempt lost its claim: lease ended or task enqueued again", extra={"cause": claim.key})
            return False
        for following in filter(None, enqueued):
            self._tasks.send(following)
        return True

    # The heartbeat and the relay ----------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Renew the lease of the attempt that is under way."""
        if (claim := self._claim) is not None:
            outbox.heartbeat(self._database, claim)

    def relay(self) -> None:
        """Send due messages again. Raises what the database or the broker raises; unsent messages stay due."""
        self.start()
        due = outbox.reap(self._database)
        sent = 0
        try:
            for row in due:
                self._tasks.publish(row.owner_id, row.key, row.generation, row.attempts)
                sent += 1
        finally:
            metrics.TASKS_SENT.labels("sent again").inc(sent)
            if sent < len(due):
                outbox.put_back(self._database, due[sent:])

    def purge(self) -> None:
        """Delete rows of tasks that were done long ago."""
        outbox.purge(self._database)

    def fail_abandoned(self) -> None:
        """Fail what is pending without a row in the outbox: it was imported, or its transaction was rolled back."""
        self._handlers.fail_abandoned(lambda name: outbox.not_done(self._database, name))

    def expire(self) -> None:
        """Delete some of the results that are too old."""
        self._handlers.expire(EXPIRED_AT_ONCE)


def _text(error: Exception | None) -> str:
    """The error as one line."""
    if isinstance(error, AppError):
        return "; ".join(f"{field} {text}" for field, texts in error.errors.items() for text in texts)[:ERROR_LENGTH]
    if isinstance(error, LostError | IncompleteError):
        return str(error)[:ERROR_LENGTH]
    return repr(error)[:ERROR_LENGTH]


class _Rounds(Thread, ABC):
    """Does its steps every two seconds until it is stopped."""

    def __init__(self, name: str, worker: OutboxWorker) -> None:
        super().__init__(name=name, daemon=True)
        self._worker = worker
        self._stopped = Event()
        self._number = 0

    def run(self) -> None:
        while True:
            for step in self._steps():
                self._try(step)
            self._number += 1
            # With jitter, so that several workers do not do this at the same time.
            if self._stopped.wait(ROUND_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                return

    @abstractmethod
    def _steps(self) -> Iterator[Callable[[], None]]: ...

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            log.warning("the %s failed", self.name, extra={"cause": f"{step.__name__}: {error!r}"})

    def stop(self) -> None:
        self._stopped.set()
        self.join(ROUND_SECONDS)


class Heartbeat(_Rounds):
    """Renews the lease. Nothing else: a step of the relay may take longer than a lease.

    A thread and not Celery beat: the lease must be renewed in the process that does the task.
    """

    def __init__(self, worker: OutboxWorker) -> None:
        super().__init__("heartbeat", worker)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._worker.heartbeat


class Relay(_Rounds):
    """Sends again what is due, and now and then purges, fails what is abandoned, and deletes what is too old.

    A thread and not Celery beat: a task that relays would wait behind a long one, or be lost with the broker.
    """

    def __init__(self, worker: OutboxWorker) -> None:
        super().__init__("relay", worker)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._worker.relay
        if self._number % ROUNDS_UNTIL_PURGE == 0:
            yield self._worker.purge
        if self._number % ROUNDS_UNTIL_ABANDONED == 0:
            yield self._worker.fail_abandoned
        if self._number % ROUNDS_UNTIL_EXPIRED == 0:
            yield self._worker.expire
