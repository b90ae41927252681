"""uvicorn's HTTP protocol with bounds for a request's head, and answers that arrive before a body has ended.

Without the bounds one endless header fills the memory of a box that has no balancer before it, and a head that never
ends keeps its connection for good. Bodies are bounded by the app's middleware, which sees them as they come; what a
chunked body has beside them, extensions and trailers, is bounded here. A connection ends with an answer that comes
before its request has ended, and lingers: to close it with bytes unread would reset it, and the answer may never be
seen.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any

import msgspec
from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from conduit.crowd import Crowd

# As the balancer has it: 32 KiB for a header, and four of them.
MAX_HEAD_BYTES = 128 << 10
# Each takes some 200 bytes of memory, however short it is. A browser sends twenty.
MAX_HEADERS = 200
HEAD_SECONDS = 10.0
# Requests that wait behind the one under way on a connection. Browsers and balancers send none.
MOST_PIPELINED = 8
# What is read and thrown away after an answer that came before the request's end: as much as an upload, and no longer.
LINGER_BYTES = 6_000_000
LINGER_SECONDS = 2.0

# Pages of any origin may read it: which one asks may not be known yet, and nothing in it is secret.
_REFUSAL = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"access-control-allow-origin: *\r\nconnection: close\r\n\r\n"
)
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


def _always() -> bool:
    return True


def _nothing() -> None:
    pass


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

    def forget(self) -> None:
        """Let go of who made it, so that both are freed at once and not by the garbage collector."""
        self._has_ended = _always

    def discard(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self.close()


class _Trailers(list[tuple[bytes, bytes]]):
    """Stands where a request's headers are gathered, once they are complete. It keeps none: nothing reads trailers."""

    def append(self, _trailer: tuple[bytes, bytes], /) -> None:
        pass


_TRAILERS = _Trailers()


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head of more than ``MAX_HEAD_BYTES`` or ``MAX_HEADERS``, or that takes longer than ``HEAD_SECONDS``.

    A request that is refused behind others waits for their answers; nothing after it is read. While too
    many are under way, a connection ends with its answer, so that there are fewer.
    """

    transport: Any

    def __init__(self, *args: Any, crowd: Crowd | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._crowd = crowd or Crowd()
        self._is_under_way = False
        self.headers = _TRAILERS
        # Bytes since the last request ended, or since the last piece of a body.
        self._head_bytes = 0
        self._is_in_head = True
        self._is_refused = False
        self._late: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Lingering(transport, self._has_ended, self.loop.call_later))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        self._count(under_way=False)
        while self.pipeline:  # they never run, so they would never let go of the protocol
            self.pipeline.pop()[0].on_response = _nothing
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # which uvicorn leaves where the client has reset the connection
        self.transport.forget()

    def _has_ended(self) -> bool:
        """Whether the client has nothing more to send of a request."""
        return self._is_in_head and self._head_bytes == 0 and not self._is_refused

    def data_received(self, data: bytes) -> None:
        if self.transport.is_lingering:
            self.transport.discard(len(data))
            return
        if self._is_refused:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        # Looked at afterwards: most requests come in one piece, and a body may have come with its head.
        if (self._head_bytes or self.headers is not _TRAILERS) and not self._is_refused:
            self._bound()

    def _bound(self) -> None:
        self._head_bytes = self._head_bytes or 1  # at least, of a head that began in the piece that ended a request
        if self._is_in_head:
            self._await_head()
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"has more than {MAX_HEAD_BYTES} bytes of headers")
        elif len(self.headers) > MAX_HEADERS:
            self._refuse_headers()

    def _refuse_headers(self) -> None:
        self._refuse(431, f"has more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            self._refuse_headers()
        elif len(self.pipeline) >= MOST_PIPELINED:
            self._refuse(400, f"is one of more than {MOST_PIPELINED} that were sent before the answer to the first")
        if self._is_refused:
            raise HttpParserError  # ends the parsing
        super().on_headers_complete()
        if self._crowd.is_too_large:
            self.cycle.keep_alive = False
        self.headers = _TRAILERS
        self._is_in_head = False
        self._has_head()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        self._count(under_way=True)  # only now, since a body may come slowly
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._crowd.answers()
        self._count(under_way=bool(self.pipeline))
        # Else the rest of a body would be read and discarded, however long it takes.
        if (self._is_refused or not self._is_in_head) and not self.pipeline and not self.transport.is_closing():
            self.transport.close()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._count(under_way=False)  # it waits for a client that does not read
        super().pause_writing()

    def resume_writing(self) -> None:
        self._count(under_way=self._is_in_head and self.cycle is not None and not self.cycle.response_complete)
        super().resume_writing()

    def _count(self, *, under_way: bool) -> None:
        """A connection counts once, however many requests it has sent."""
        if under_way != self._is_under_way:
            self._is_under_way = under_way
            (self._crowd.begins if under_way else self._crowd.leaves)()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's sentence
        self._refuse(400, "could not be read as an HTTP request")

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
        """Answer in the API's form and close the connection; where an answer is under way, only close it after that."""
        self._has_head()
        self.headers.clear()  # they would stay while the connection lingers
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        if self._may_answer():
            body = msgspec.json.encode({"errors": {"body": [sentence]}})
            head = _REFUSAL % (status, _REASONS[status], len(body))
            self.transport.write(head + body)
            self.transport.close()

    def _may_answer(self) -> bool:
        """Whether no answer is under way. The app is told to give up a request that it has begun."""
        cycle = self.cycle
        if not self._is_in_head and self.pipeline:
            self.pipeline.popleft()  # it is the last one, and the app has not seen it
            return False
        if not self._is_in_head and not cycle.response_started:
            cycle.disconnected = True
            cycle.message_event.set()
            return True
        if cycle is None or cycle.response_complete:
            return True
        cycle.keep_alive = False
        return False
