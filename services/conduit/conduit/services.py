"""The app's services at run time: one object behind each port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conduit.pages import Files
from conduit.passwords import Passwords
from conduit.ports import Database, Limits, Media, Reads, Tasks
from conduit.tasks import Handlers
from conduit.tokens import Tokens


@dataclass(frozen=True)
class Services:
    """What the routes call. ``backends`` describes the adapter behind each port, for everybody; ``addresses`` are where
    the servers behind them are, for the log.

    ``handlers`` perform the tasks, here or in a worker. A process that takes requests calls ``before_requests`` once
    before the first and ``after_requests`` after the last; they raise nothing.
    """

    database: Database
    reads: Reads
    media: Media
    tasks: Tasks
    handlers: Handlers
    limits: Limits
    passwords: Passwords
    tokens: Tokens
    pages: Files
    backends: dict[str, str]
    addresses: dict[str, str]
    before_requests: Callable[[], None]
    after_requests: Callable[[], None]
    closers: Sequence[Callable[[], None]]

    def close(self) -> None:
        for close in self.closers:
            close()
