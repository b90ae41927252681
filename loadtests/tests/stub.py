"""A small HTTP server to send load at.

Answers at once, or freezes, or answers by a queue of a known capacity.
"""

import argparse
import asyncio
import json
import time
from typing import ClassVar

HEAD = b"HTTP/1.1 %d X\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s"


class Stub(asyncio.Protocol):
    """Keep-alive requests with short bodies, one answer each."""

    status = 200
    service = 0.0
    slots = 0
    html = b""
    answer: ClassVar[dict[str, object]] = {"article": {"slug": "new-1"}}
    tag = b""
    _free = 0.0
    _waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._out = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, rest = self._buffer.split(b"\r\n\r\n", 1)
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            kind = type(self)
            if kind.tag and b"if-none-match: " + kind.tag.lower() in head.lower():
                self._out.write(b"HTTP/1.1 304 X\r\n\r\n")  # type: ignore[attr-defined]
            else:
                self._answer()

    def _answer(self) -> None:
        kind = type(self)
        if not kind.service:
            self._write(kind.status)
            return
        if kind._waiting >= kind.slots:
            self._write(503)
            return
        # One server, first come first served, each request the same service time.
        now = time.perf_counter()
        kind._free = max(now, kind._free) + kind.service
        kind._waiting += 1
        asyncio.get_running_loop().call_later(kind._free - now, self._done)

    def _done(self) -> None:
        type(self)._waiting -= 1
        self._write(type(self).status)

    def _write(self, status: int) -> None:
        kind = type(self)
        body = kind.html or json.dumps(kind.answer).encode()
        tag = b"ETag: %s\r\n" % kind.tag if kind.tag else b""
        content_type = b"text/html" if kind.html else b"application/json"
        self._out.write(HEAD % (status, content_type, tag, len(body), body))  # type: ignore[attr-defined]


async def _freeze(every: float, for_seconds: float) -> None:
    """Block the whole server in the first part of each period of the wall clock."""
    while True:
        into = time.time() % every
        if into < for_seconds:
            time.sleep(for_seconds - into)
        await asyncio.sleep(every - time.time() % every)


async def main() -> None:
    """Serve until killed; the port is printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--freeze", action="store_true", help="freeze for 1 s in every 5")
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--service", type=float, default=0.0, help="seconds of service a request")
    parser.add_argument("--slots", type=int, default=100, help="beyond so many waiting, 503")
    parser.add_argument("--vague", action="store_true", help="answer nothing that anything can follow from")
    parser.add_argument("--html", default="", help="what is answered instead of JSON")
    parser.add_argument("--etag", default="", help="the tag of all answers; a request that has it is answered 304")
    options = parser.parse_args()
    if options.vague:
        Stub.answer = {}
    Stub.html, Stub.tag = options.html.encode(), options.etag.encode()
    Stub.status, Stub.service, Stub.slots = options.status, options.service, options.slots
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    if options.freeze:
        await _freeze(5.0, 1.0)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
