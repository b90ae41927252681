"""What a database is made of: a server to read from and to write to, alone or with a replica."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from conduit.events import Committed, Event
from conduit.ports import Reader, Writer


class Transaction(Writer, Protocol):
    """What it recorded, and after its end where its commit is in the server's log, if the server has replicas."""

    events: list[Event]
    committed: Committed | None


class DatabaseServer(Reader, Protocol):
    def open(self) -> None: ...

    def close(self) -> None: ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that commits when the block ends and rolls back when it raises."""

    def remember(self, committed: Committed) -> None:
        """The current request's user has written this, and the listeners know."""

    def when_known(self, then: Callable[[Committed], None]) -> None:
        """Call ``then`` once it is known where the log is: a commit's answer was lost. Not without replicas."""
