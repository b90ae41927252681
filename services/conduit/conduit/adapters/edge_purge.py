"""An edge that is told by HTTP to forget an article, while who changed it waits for the answer.

So this waits for a tenth of a second at the most, and not at all for an edge that did not answer last time: that one
is looked for beside the requests, its name too, which the DNS may take seconds to know nothing of. A purge that is lost
is not sent again: what the edge keeps of the API is over in seconds by itself (docs/decisions/0004-the-edge.md).
"""

import logging
import socket
import time
from collections.abc import Sequence
from threading import Event as Signal
from threading import Lock, Thread
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError, ProtocolError

from conduit import metrics

log = logging.getLogger(__name__)

TIMEOUT = Timeout(connect=0.03, read=0.07)
FIRST_LOOK_SECONDS = 0.1  # that the first purge of a process waits until the edge is found
PAUSE_SECONDS = 1.0  # between two looks for an edge that does not answer
CONNECTIONS = 4  # that are kept; a burst of writes opens more for itself


class PurgeEdge:
    """The edge whose port for purging is at ``url``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._lock = Lock()
        self._edge: HTTPConnectionPool | None = None
        self._found: Signal | None = None

    def purge(self, article_ids: Sequence[int]) -> None:
        for article_id in article_ids:
            edge = self._edge or self._sought()
            if edge is None:
                metrics.PURGES.labels("not tried").inc()
            else:
                self._purge(edge, article_id)

    def _purge(self, edge: HTTPConnectionPool, article_id: int) -> None:
        try:
            status = _ask(edge, "POST", f"/articles/{article_id}")
        except HTTPError as error:
            with self._lock:
                if self._edge is edge:
                    self._edge = None
            self._failed(article_id, error)
            self._look_beside()
        else:
            if status == 204:
                metrics.PURGES.labels("done").inc()
            else:
                self._failed(article_id, status)

    def _failed(self, article_id: int, cause: object) -> None:
        metrics.PURGES.labels("failed").inc()
        log.warning("the edge was not told", extra={"server": self._host, "cause": f"article {article_id}: {cause!r}"})

    def _sought(self) -> HTTPConnectionPool | None:
        """The edge, where this process has not looked for it before and it is soon found."""
        first = self._found is None
        found = self._look_beside()
        if first:
            found.wait(FIRST_LOOK_SECONDS)
        return self._edge

    def _look_beside(self) -> Signal:
        """What tells when the edge is found; from now on somebody looks for it until it is."""
        with self._lock:
            if self._found is None or (self._found.is_set() and self._edge is None):
                self._found = Signal()
                Thread(target=self._look, args=(self._found,), daemon=True).start()
            return self._found

    def _look(self, found: Signal) -> None:
        while True:
            try:
                addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                edge = HTTPConnectionPool(str(addresses[0][4][0]), self._port, maxsize=CONNECTIONS)
                # Whatever it answers: one that hangs takes connections too.
                _ask(edge, "GET", "/alive")
            except (HTTPError, OSError):
                time.sleep(PAUSE_SECONDS)
            else:
                with self._lock:
                    self._edge = edge
                    found.set()
                return


def _ask(edge: HTTPConnectionPool, method: str, path: str) -> int:
    """The status of the answer. Either request may be sent twice."""
    try:
        return edge.urlopen(method, path, retries=False, timeout=TIMEOUT).status
    except ProtocolError as error:
        # A connection that had waited here while its other end was closed.
        if not isinstance(error.args[-1], ConnectionError):
            raise
        return edge.urlopen(method, path, retries=False, timeout=TIMEOUT).status
