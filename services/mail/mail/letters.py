"""Parses a message for people to read. It never fails, whatever a sender writes."""

from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message as Parsed

from mail.inbox import Message


@dataclass(frozen=True, slots=True)
class Letter:
    """A parsed message. ``text`` is the first plain text part, or else the source of the first text part."""

    message: Message
    message_id: str
    sender: str
    to: str
    subject: str
    date: str
    text: str


def read(message: Message) -> Letter:
    """Parse a message, with encoded words and bodies decoded as far as possible."""
    try:
        parsed = message_from_bytes(message.content)
        text = _text(parsed)
    except RecursionError:  # hundreds of nested parts
        parsed, text = Parsed(), message.content.decode("utf-8", "replace")
    return Letter(
        message=message,
        message_id=_header(parsed, "Message-ID"),
        sender=_header(parsed, "From") or message.sender,
        to=_header(parsed, "To") or ", ".join(message.recipients),
        subject=_header(parsed, "Subject"),
        date=_header(parsed, "Date"),
        text=text,
    )


def _header(parsed: Parsed, name: str) -> str:
    value = parsed.get(name, "")
    try:
        value = str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        value = str(value)
    # Bytes beyond ASCII are lone surrogates here, which can't be encoded.
    return value.encode("utf-8", "replace").decode().replace("\n", " ").replace("\r", "").strip()


def _text(parsed: Parsed) -> str:
    texts = [part for part in parsed.walk() if part.get_content_maintype() == "text" and not part.is_multipart()]
    plain = [part for part in texts if part.get_content_subtype() == "plain"]
    for part in [*plain, *texts]:
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            try:
                return payload.decode(part.get_content_charset("utf-8"), "replace")
            except (LookupError, ValueError):  # an unknown charset
                return payload.decode("utf-8", "replace")
    return ""
