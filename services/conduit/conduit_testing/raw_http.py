"""Requests as bytes on a connection, and what comes back."""

import contextlib
import gc
import json
import socket
from collections.abc import Iterator

from conduit.http_protocol import BoundedHttp
from conduit_testing.waiting import until

UNREADABLE = {"errors": {"body": ["could not be read as an HTTP request"]}}
CHUNKED = b"POST /api/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(connection: socket.socket) -> tuple[int, dict[str, str], object]:
    """The status, the headers and the body that come before the connection is closed."""
    head, _, body = all_of(connection).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if "x-request-id" not in headers:  # the protocol's own, not the app's
        assert headers["access-control-allow-origin"] == "*", "a page on another origin cannot read it"
    return int(status.split()[1]), headers, json.loads(body)


def all_of(connection: socket.socket) -> bytes:
    said = b""
    while data := connection.recv(65_536):
        said += data
    return said


@contextlib.contextmanager
def nothing_is_kept() -> Iterator[None]:
    """No connection of the block stays until the garbage is collected."""

    def kept() -> int:
        return sum(isinstance(one, BoundedHttp) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        yield
        until(lambda: kept() <= before, lambda: f"{kept() - before} are kept")
    finally:
        gc.enable()
