"""The server's memory: the newest messages, limited in number and size, and the Message-IDs seen so far."""

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
    """A message as received: ``at`` in seconds since 1970, ``content`` with its headers."""

    number: int
    at: float
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def size(self) -> int:
        """The bytes that count towards the mailbox's limit."""
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
    """Messages in order of arrival. Thread-safe.

    A sender that got no answer may send a message again. A Message-ID identifies one message forever (RFC 5322, 3.6.4).
    So a message with a known Message-ID is dropped, as a reader's mail server may do: that makes sending idempotent.
    """

    def __init__(
        self, most_messages: int, most_bytes: int, most_seen: int, clock: Callable[[], float] = time.time
    ) -> None:
        """Limit the messages, their total bytes, and the remembered Message-IDs."""
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._most_seen = most_seen
        self._clock = clock
        self._lock = Lock()
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._received = self._bytes = self._duplicates = self._dropped = 0

    def take(self, sender: str, recipients: Sequence[str], content: bytes) -> bool:
        """Keep a message, and drop the oldest ones beyond the limits. Returns False for a known Message-ID."""
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
        """The message with this number, or None if it was dropped."""
        with self._lock:
            return self._messages.get(number)

    def newest(self, count: int, *, recipient: str = "", before: int | None = None) -> list[Message]:
        """At most ``count`` messages, newest first, optionally only those to an address or before a number."""
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
        """The counts since the start."""
        with self._lock:
            return Counts(self._received, len(self._messages), self._bytes, self._duplicates, self._dropped)


def _fingerprint(content: bytes) -> bytes | None:
    """A digest of the Message-ID, which has a fixed size; None without a Message-ID."""
    try:
        identity = BytesHeaderParser().parsebytes(content)["Message-ID"]
    except MessageError:
        return None
    text = str(identity or "").strip()
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest() if text else None
