"""What the app is made of at run time: one object behind each port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conduit.announcements import Sender
from conduit.pages import Files
from conduit.passwords import Passwords
from conduit.ports import Database, Limits, Mail, Media, Reads, Tasks
from conduit.tokens import Tokens


@dataclass(frozen=True)
class Services:
    """What the routes call. ``backends`` says in words which adapter stands behind each port.

    ``before_requests`` is called once by the process that takes them, before the first; ``after_requests`` after the
    last. They raise nothing.
    """

    database: Database
    reads: Reads
    media: Media
    tasks: Tasks
    mail: Mail
    sender: Sender
    limits: Limits
    passwords: Passwords
    tokens: Tokens
    pages: Files
    backends: dict[str, str]
    before_requests: Callable[[], None]
    after_requests: Callable[[], None]
    closers: Sequence[Callable[[], None]]

    def close(self) -> None:
        for close in self.closers:
            close()
