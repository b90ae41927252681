"""The generator's connections: a request is sent once, on a kept connection or, as by a stranger, on a new one.

geventhttpclient, which Locust's FastHttpUser uses, sends an idempotent request again where the connection closed
without an answer: without a pause, and up to once more than its pool is large. That would hide what a server did to
its users, and multiply the load when it can least bear it. Here it is an error of the one request.
"""

import contextlib
import select
from typing import Any

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool

# The client tries once and then this many times plus one.
NEVER_AGAIN = -1


class Connections(ConnectionPool):
    """Connections to one server."""

    def __init__(self, *args: Any, strangers: "Strangers", **options: Any) -> None:
        super().__init__(*args, **options)
        self.size = NEVER_AGAIN  # its places were made from the size that was given
        self._strangers = strangers

    def get_socket(self) -> Any:
        """A kept connection that is still open, else a new one; always a new one for a stranger."""
        while self._strangers.all and not self._socket_queue.empty():
            self._socket_queue.get(block=False).close()
        return super().get_socket()

    def return_socket(self, sock: Any) -> None:
        """Keep a connection whose answer was read; a stranger's is closed, as nobody comes back to it."""
        if self._strangers.all:
            self.release_socket(sock)
        else:
            super().return_socket(sock)

    def _is_socket_alive(self, sock: Any) -> bool:
        """Whether nothing came on a kept connection: its end would be something, too.

        By poll(), as select() knows no more than 1,024 files: with more requests in flight than that, no connection
        would be used again.
        """
        with contextlib.suppress(OSError, ValueError):
            asked = select.poll()
            asked.register(sock.fileno(), select.POLLIN)
            return not asked.poll(0)
        return False


class Strangers:
    """Whether requests come from strangers from now on, each of whom opens a connection of their own."""

    def __init__(self) -> None:
        self.all = False


class Clients(HTTPClientPool):
    """A client for each server, what Locust asks for; ``concurrency`` requests at once."""

    def __init__(self, *, concurrency: int, network_timeout: float, connection_timeout: float) -> None:
        super().__init__()
        self.strangers = Strangers()
        self._options: dict[str, Any] = {"network_timeout": network_timeout, "connection_timeout": connection_timeout}
        self._concurrency = concurrency

    def get_client(self, url: Any) -> HTTPClient:
        """The client of a parsed URL's server."""
        known = url.host, url.port
        if known not in self.clients:
            client = HTTPClient.from_url(url, concurrency=self._concurrency, **self._options)
            client._connection_pool = Connections(
                url.host, client.port or 80, url.host, client.port or 80,
                size=self._concurrency, strangers=self.strangers, **self._options,
            )  # fmt: skip
            self.clients[known] = client
        return self.clients[known]
