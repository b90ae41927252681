"""A queue whose worker is in the tests' process, and works only when a test says so."""

import time
from collections.abc import Iterator
from queue import Empty
from typing import NamedTuple

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.exceptions import Reject
from kombu.message import Message
from sqlalchemy import delete

from conduit import outbox, outbox_worker, worker
from conduit.adapters.tasks_celery import QUEUE, CeleryTasks, celery_app
from conduit.models import outbox as table
from conduit.outbox_worker import OutboxWorker
from conduit.ports import Database
from conduit.services import Services
from conduit.statements import Statement

SETTLES_WITHIN = 30.0


class _KeyRow(NamedTuple):
    key: str


_CLEAR = Statement("clear tasks", delete(table).returning(table.c.key), _KeyRow)


class Sent(NamedTuple):
    """A message's content: the row's key, its generation, and the attempts before it."""

    owner_id: int
    key: str
    generation: int
    retries: int


def sent(message: Message) -> Sent:
    (owner_id, key, generation), _, _ = message.payload
    return Sent(owner_id, key, generation, message.headers["retries"])


class Hand:
    """A worker that a test controls. Celery runs its task and publishes its retries, without their delay."""

    def __init__(self, services: Services, broker_url: str, name: str = "the tests' worker") -> None:
        assert isinstance(services.tasks, CeleryTasks)
        self.services = services
        self.tasks = services.tasks
        self.worker = OutboxWorker(services.database, services.handlers, services.tasks, name)
        self._app: Celery = celery_app(broker_url)
        task = worker.add_task(self._app, self.worker.perform)
        self._trace = build_tracer(task.name, task, app=self._app)

    def messages(self) -> Iterator[Message]:
        """Take all messages out of the queue."""
        with self._app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
            while True:
                try:
                    message = queue.get(block=False)
                except Empty:
                    return
                try:
                    yield message
                finally:
                    if not message.acknowledged:
                        message.ack()

    def deliver(self, message: Message) -> None:
        """Make Celery run the task of a message, as its worker does."""
        args, kwargs, _ = message.payload
        request = {**message.headers, "delivery_info": message.delivery_info}
        info = self._trace(message.headers["id"], args, kwargs, request)[1]
        if info is not None and isinstance(info.retval, Reject) and info.retval.requeue and not message.acknowledged:
            message.requeue()  # type: ignore[no-untyped-call]  # kombu has no types

    def work(self) -> list[str]:
        """Perform the tasks of all messages in the broker. Returns their keys, in order."""
        done = []
        for message in self.messages():
            self.deliver(message)
            done.append(sent(message).key)
        return done

    def settle(self) -> None:
        """Work until all tasks are done or dead."""
        deadline = time.monotonic() + SETTLES_WITHIN
        while outbox.counts(self.services.database).oldest:
            assert time.monotonic() < deadline, f"not settled: {outbox.counts(self.services.database)}"
            self.settle_once()

    def settle_once(self) -> None:
        """Relay due messages, and perform the tasks of all messages."""
        self.worker.relay()
        self.work()


def in_no_time(patch: pytest.MonkeyPatch) -> None:
    """Allow three attempts, and make the relay send waiting tasks at once."""
    for module in (worker, outbox_worker):
        patch.setattr(module, "MAX_RETRIES", 2)
    patch.setattr(outbox_worker, "PAUSE_SECONDS", 0)
    patch.setattr(outbox, "FIRST_SECONDS", 0)


def clear(database: Database) -> None:
    """Delete all tasks."""
    for server in database.readers():
        server.all(_CLEAR)
