"""What the server keeps: messages up to a count and a size, and the Message-IDs it has seen."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.parser import BytesHeaderParser
from hashlib import blake2b
from threading import Lock


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came. ``at`` in seconds since 1970; ``content`` with its headers, as sent."""

    number: int
    at: float
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.content) + len(self.sender) + sum(map(len, self.recipients))


@dataclass(frozen=True, slots=True)
class Counts:
    """``received`` = ``kept`` + ``duplicates`` + ``dropped``; ``bytes`` are those of the kept ones."""

    received: int
    kept: int
    bytes: int
    duplicates: int
    dropped: int


class Mailbox:
    """Messages in the order in which they came. For use by several threads.

    Senders may send a message again when they did not hear that it was taken. A Message-ID names a message for good
    (RFC 5322, 3.6.4), so one that was seen is dropped, as a reader's mail server would; that makes sending idempotent.
    """

    def __init__(
        self, most_messages: int, most_bytes: int, most_seen: int, clock: Callable[[], float] = time.time
    ) -> None:
        """Keep at most so many messages, of at most so many bytes together, and remember so many Message-IDs."""
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._most_seen = most_seen
        self._clock = clock
        self._lock = Lock()
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._received = self._bytes = self._duplicates = self._dropped = 0

    def take(self, sender: str, recipients: Sequence[str], content: bytes) -> bool:
        """Keep a message, at the expense of the oldest ones; False for a Message-ID that was seen already."""
        fingerprint = _fingerprint(content)
        with self._lock:
            self._received += 1
            if fingerprint is not None:
                if fingerprint in self._seen:
                    self._seen.move_to_end(fingerprint)
                    self._duplicates += 1
                    return False
                self._seen[fingerprint] = None
                if len(self._seen) > self._most_seen:
                    self._seen.popitem(last=False)
            message = Message(self._received, self._clock(), sender, tuple(recipients), content)
            self._messages[message.number] = message
            self._bytes += message.size
            while len(self._messages) > self._most_messages or self._bytes > self._most_bytes:
                _, oldest = self._messages.popitem(last=False)
                self._bytes -= oldest.size
                self._dropped += 1
            return True

    def get(self, number: int) -> Message | None:
        """The message of that number, if it is still kept."""
        with self._lock:
            return self._messages.get(number)

    def newest(self, count: int, *, recipient: str = "", before: int | None = None) -> list[Message]:
        """At most ``count`` messages, newest first: those to an address, those older than a number."""
        wanted = recipient.casefold()
        with self._lock:
            messages = list(reversed(self._messages.values()))
        found: list[Message] = []
        for message in messages:
            if len(found) == count:
                break
            if before is not None and message.number >= before:
                continue
            if wanted and wanted not in (address.casefold() for address in message.recipients):
                continue
            found.append(message)
        return found

    def counts(self) -> Counts:
        """What came and what became of it, since the start."""
        with self._lock:
            return Counts(self._received, len(self._messages), self._bytes, self._duplicates, self._dropped)


def _fingerprint(content: bytes) -> bytes | None:
    """A digest of the Message-ID, so that what is remembered has a size; None where there is none."""
    try:
        identity = BytesHeaderParser().parsebytes(content)["Message-ID"]
    except MessageError:
        return None
    text = str(identity or "").strip()
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest() if text else None
