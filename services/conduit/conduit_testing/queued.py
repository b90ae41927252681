"""A queue whose worker is in the tests' own process, and works only when it is told to."""

from collections.abc import Iterator
from queue import Empty

from celery import Celery
from sqlalchemy import delete

from conduit import task_rows
from conduit.adapters.tasks_celery import QUEUE, CeleryTasks, queue_at
from conduit.models import tasks
from conduit.ports import Database
from conduit.services import Services
from conduit.statements import Statement
from conduit.worker import Worker

_CLEAR = Statement("clear tasks", delete(tasks).returning(tasks.c.key))


class Hand:
    """A worker by hand: takes what the broker has, and looks after the rows."""

    def __init__(self, services: Services, broker_url: str, box: str = "the tests' worker") -> None:
        assert isinstance(services.tasks, CeleryTasks)
        self.services = services
        self.tasks = services.tasks
        self.worker = Worker(services, services.tasks, box)
        self._app: Celery = queue_at(broker_url)

    def messages(self) -> Iterator[tuple[int, str]]:
        """Take messages out of the queue until it is empty."""
        with self._app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
            while True:
                try:
                    message = queue.get(block=False)
                except Empty:
                    return
                message.ack()
                (owner_id, key), _, _ = message.payload
                yield owner_id, key

    def work(self) -> list[str]:
        """Do what the broker has; the keys of the messages, in their order."""
        done = []
        for owner_id, key in self.messages():
            self.worker.do(owner_id, key)
            done.append(key)
        return done

    def settle(self) -> None:
        """Work until no task is left that anybody waits for."""
        while task_rows.counts(self.services.database).oldest:
            self.settle_once()

    def settle_once(self) -> None:
        """Send what is due, and do what the broker has."""
        self.worker.look_after()
        self.work()


def clear(database: Database) -> None:
    """Forget all tasks."""
    for server in database.readers():
        server.all(_CLEAR)
