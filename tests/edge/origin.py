"""A site for the edge to stand before, that answers as a test says and remembers what it was asked."""

import gzip
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asked:
    """A request as it came to the origin; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Answer:
    """What the origin answers; compressed where the request takes that."""

    body: str = "{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class GoneError(Exception):
    """Raised for an answer: the origin hangs up instead."""


class Origin:
    """Listens on every address, for a container to reach it. ``answer`` makes each answer, in a thread of its own."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = as_the_app
        origin = self

        class Handler(_Handler):
            def handle_one(self, asked: Asked) -> None:
                origin.asked.append(asked)
                try:
                    answer = origin.answer(asked)
                except GoneError:
                    self.close_connection = True
                    return
                self.send(asked, answer)

        self._server = _Server(("0.0.0.0", 0), Handler)  # noqa: S104 - the edge is in a container
        self.port: int = self._server.server_address[1]

    @contextmanager
    def running(self) -> Iterator["Origin"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def asked_for(self, part: str) -> list[Asked]:
        """The requests whose path has ``part`` in it."""
        return [one for one in list(self.asked) if part in one.path]


def as_the_app(asked: Asked) -> Answer:
    """As the app answers: the cache headers of its pages, its files and its API, and in the body who asked for what."""
    body = json.dumps({"path": asked.path, "viewer": asked.token})
    if asked.path.startswith(("/assets/", "/media/")):
        return Answer(body, headers={"Cache-Control": FOREVER, "ETag": 'W/"file"'})
    if asked.path.startswith("/api/"):
        return Answer(body)
    return Answer(body, headers={"Cache-Control": "no-cache", "ETag": 'W/"page"'})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler, ABC):
    protocol_version = "HTTP/1.1"

    @abstractmethod
    def handle_one(self, asked: Asked) -> None: ...

    def send(self, asked: Asked, answer: Answer) -> None:
        content = answer.body.encode()
        headers = {"Content-Type": "application/json", "Vary": "Accept-Encoding", "X-Request-Id": "the origin's"}
        headers["X-Length"] = str(len(content))  # as the balancer says it
        if "gzip" in asked.headers.get("accept-encoding", ""):
            content = gzip.compress(content)
            headers["Content-Encoding"] = "gzip"
        self.send_response(answer.status)
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if asked.method != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _any(self) -> None:
        try:
            body = self._body()
        except ValueError:
            self.close_connection = True  # broken off in the middle
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.handle_one(Asked(self.command, self.path, headers, body))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _any

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
