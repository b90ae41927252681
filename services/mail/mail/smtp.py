"""The SMTP server: it accepts every message and delivers none."""

import asyncio
from functools import partial

from aiosmtpd.smtp import SMTP, Envelope, Session

from mail.inbox import Mailbox
from mail.settings import Settings

# RFC 5321, 4.5.3.1.8: a server must accept at least 100; clients send the others in another transaction.
MOST_RECIPIENTS = 100
IDLE_SECONDS = 120


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes), "decode_data is off"
        kept = self._mailbox.take(envelope.mail_from or "", envelope.rcpt_tos, content)
        return "250 2.0.0 OK, kept" if kept else "250 2.0.0 OK, duplicate"


async def serve(mailbox: Mailbox, settings: Settings) -> asyncio.Server:
    """Listen on every address. Returns the running server."""
    loop = asyncio.get_running_loop()
    protocol = partial(
        SMTP,
        _Handler(mailbox),
        hostname="mail",  # otherwise each connection would look up the host's name
        ident="stub",
        data_size_limit=settings.most_bytes_a_message,
        enable_SMTPUTF8=True,
        timeout=IDLE_SECONDS,
        loop=loop,
    )
    return await loop.create_server(protocol, "0.0.0.0", settings.smtp_port)  # noqa: S104 - a container's own network
