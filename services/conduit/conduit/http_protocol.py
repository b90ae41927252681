"""uvicorn's HTTP protocol with bounds for a request's head, and answers that arrive before a body has ended.

Without the bounds one endless header fills the memory of a box that has no balancer before it, and a head that never
ends keeps its connection for good. Bodies are bounded by the app's middleware, which sees them as they come. Where that
refuses one, the connection lingers: to close it with bytes unread would reset it, and the answer may never be seen.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As the balancer has it: 32 KiB for a header, and four of them.
MAX_HEAD_BYTES = 128 << 10
HEAD_SECONDS = 10.0
# What is read and thrown away after an answer that came before the request's end: as much as an upload, and no longer.
LINGER_BYTES = 6_000_000
LINGER_SECONDS = 2.0

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _Lingering:
    """A transport whose ``close`` sends what was written, and reads on for a while where the request has not ended.

    A second ``close`` closes it at once.
    """

    def __init__(self, transport: Transport, has_ended: Callable[[], bool], later: Callable[..., TimerHandle]) -> None:
        self._transport = transport
        self._has_ended = has_ended
        self._later = later
        self._timer: TimerHandle | None = None
        self._left = LINGER_BYTES
        self.write = transport.write  # for each answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def is_lingering(self) -> bool:
        return self._timer is not None

    def is_closing(self) -> bool:
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._transport.close()
        elif self._transport.is_closing() or self._has_ended():
            self._transport.close()
        else:
            self._timer = self._later(LINGER_SECONDS, self._transport.close)
            self._transport.write_eof()
            self._transport.resume_reading()

    def discard(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self.close()


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head of more than ``MAX_HEAD_BYTES``, and one that takes longer than ``HEAD_SECONDS``."""

    transport: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._is_in_head = True
        self._late: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Lingering(transport, self._has_ended, self.loop.call_later))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def _has_ended(self) -> bool:
        """Whether the client has nothing more to send of a request: the count ends with its body."""
        return self._head_bytes == 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_lingering:
            self.transport.discard(len(data))
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # Looked at afterwards: most requests come in one piece, and a body may have come with its head.
        if self._is_in_head and self._head_bytes:
            self._await_head()
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, f"has a head of more than {MAX_HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._has_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's sentence
        self._refuse(400, "is no request that can be read")

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._is_late)

    def _has_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        if self._head_bytes:
            self._refuse(408, f"did not arrive within {HEAD_SECONDS:g} s")
        else:
            self.transport.close()  # nothing was asked, so nothing is answered

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer in the API's form, where no answer is under way, and close the connection."""
        self._has_head()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode({"errors": {"body": [sentence]}})
            lines = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
            self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _REASONS[status], lines, body))
        self.transport.close()
