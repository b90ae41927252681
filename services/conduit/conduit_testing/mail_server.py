"""Mail servers for tests: one that accepts mail, and some that fail in different ways."""

import contextlib
import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class MailServer:
    """Keeps what it receives. Rejects addresses that start with "refused" for good, and with "later" temporarily."""

    got: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    def messages(self) -> dict[str, EmailMessage]:
        """The messages by recipient."""
        return {to: _parsed(content) for to, content in self.got}

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 no such person"
        if address.startswith("later"):
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        if b"unwelcome" in envelope.content:
            return "554 not such content"
        self.got.extend((address, envelope.content) for address in envelope.rcpt_tos)
        return "250 OK"


def _parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@contextlib.contextmanager
def mail_server(*, every_script: bool = True) -> Iterator[MailServer]:
    """A server on a free port, with or without international addresses (RFC 6531)."""
    server = MailServer()
    controller = Controller(server, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=every_script)
    controller.start()
    server.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield server
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def stubborn_server(way: str) -> Iterator[int]:
    """The port of a server that accepts no mail: it "hangs" silently, "trickles" an endless greeting, "closes" the
    connection at once, or answers that it is "busy".
    """
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if way == "busy":
                client.sendall(b"421 too busy\r\n")
            while way == "trickles" and not over.wait(0.1):
                client.sendall(b"2")
            if way == "hangs":
                over.wait(60)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
