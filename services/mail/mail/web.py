"""The HTTP server: pages for people, JSON for tests, and a health check."""

import json
import re
import socket
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mail import letters, pages
from mail.inbox import Mailbox, Message

ON_A_PAGE = 50
IDLE_SECONDS = 10
_MESSAGE = re.compile(r"/messages/([0-9]{1,15})(/source)?")
_HTML, _TEXT, _JSON, _CSS = "text/html", "text/plain", "application/json", "text/css"
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


class Web(ThreadingHTTPServer):
    """Serves a mailbox. The health check connects to ``smtp_port``."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], mailbox: Mailbox, smtp_port: int) -> None:
        super().__init__(address, _Handler)
        self.mailbox = mailbox
        self.smtp_port = smtp_port


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mail", ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        try:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, max_num_fields=10).items()}
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, _HTML, pages.error("This URL is malformed."))
            return
        self._route(parts.path, query)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Log nothing: the health check alone would fill the log."""

    def _route(self, path: str, query: Mapping[str, str]) -> None:
        if path == "/":
            self._listing(query)
        elif path == "/style.css":
            self._answer(HTTPStatus.OK, _CSS, pages.STYLE)
        elif path == "/health":
            healthy = _greets(self.server.smtp_port)
            status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, _JSON, json.dumps({"smtp": healthy}))
        elif path == "/api/messages":
            self._messages(query)
        elif match := _MESSAGE.fullmatch(path.removeprefix("/api")):
            self._message(int(match[1]), as_json=path.startswith("/api/"), as_source=bool(match[2]))
        else:
            self._answer(HTTPStatus.NOT_FOUND, _HTML, pages.error("There is no such page."))

    def _listing(self, query: Mapping[str, str]) -> None:
        found = self._find(query, ON_A_PAGE + 1)
        shown = [letters.read(message) for message in found[:ON_A_PAGE]]
        page = pages.listing(shown, self.server.mailbox.counts(), query.get("to", ""), len(found) > ON_A_PAGE)
        self._answer(HTTPStatus.OK, _HTML, page)

    def _messages(self, query: Mapping[str, str]) -> None:
        counts = self.server.mailbox.counts()
        content = {
            "received": counts.received,
            "kept": counts.kept,
            "bytes": counts.bytes,
            "duplicates": counts.duplicates,
            "dropped": counts.dropped,
            "messages": [_as_json(message) for message in self._find(query, ON_A_PAGE)],
        }
        self._answer(HTTPStatus.OK, _JSON, json.dumps(content))

    def _message(self, number: int, as_json: bool, as_source: bool) -> None:
        message = self.server.mailbox.get(number)
        if message is None:
            problem = "There is no such message. It may have been dropped at the limit."
            body = json.dumps({"error": problem}) if as_json else pages.error(problem)
            self._answer(HTTPStatus.NOT_FOUND, _JSON if as_json else _HTML, body)
        elif as_source:
            self._answer(HTTPStatus.OK, _TEXT, message.content)
        elif as_json:
            self._answer(HTTPStatus.OK, _JSON, json.dumps(_as_json(message)))
        else:
            self._answer(HTTPStatus.OK, _HTML, pages.message(letters.read(message)))

    def _find(self, query: Mapping[str, str], count: int) -> list[Message]:
        before = query.get("before", "")
        number = int(before) if re.fullmatch("[0-9]{1,15}", before) else None
        return self.server.mailbox.newest(count, recipient=query.get("to", "").strip(), before=number)

    def _answer(self, status: HTTPStatus, kind: str, body: str | bytes) -> None:
        content = body.encode("utf-8", "replace") if isinstance(body, str) else body
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _as_json(message: Message) -> dict[str, Any]:
    letter = letters.read(message)
    return {
        "number": message.number,
        "receivedAt": message.at,
        "messageId": letter.message_id,
        "from": letter.sender,
        "to": list(message.recipients),
        "subject": letter.subject,
        "date": letter.date,
        "text": letter.text,
    }


def _greets(port: int) -> bool:
    """Whether the SMTP server greets a connection, which takes a running event loop."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            greeting = connection.recv(4)
            connection.sendall(b"QUIT\r\n")
    except OSError:
        return False
    return greeting.startswith(b"220")
