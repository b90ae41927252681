"""An edge that is asked by HTTP to purge an article, while the author of the change waits for the answer.

So a purge waits for a tenth of a second at most, and not at all while the circuit breaker is open. A purge that is lost
is not sent again: what the edge keeps of the API expires within seconds (docs/decisions/0004-the-edge.md).
"""

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError, ProtocolError

from conduit import metrics
from conduit.adapters.circuit_breaker import CircuitBreaker, first_address

log = logging.getLogger(__name__)

TIMEOUT = Timeout(connect=0.03, read=0.07)
OPEN_SECONDS = 0.1  # how long after the circuit opened a purge waits for the probe
PROBE_PAUSE_SECONDS = 1.0
CONNECTIONS = 4  # that are kept; a burst of writes opens more for itself


class PurgeEdge:
    """The edge whose port for purging is at ``url``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._edge: HTTPConnectionPool | None = None
        self._breaker = CircuitBreaker(f"{self._host}:{self._port}", self._probe, pause=PROBE_PAUSE_SECONDS)

    def close(self) -> None:
        """Purge nothing more, and end the probe."""
        self._breaker.stop()
        if self._edge is not None:
            self._edge.close()

    def purge(self, article_ids: Sequence[int]) -> None:
        for article_id in article_ids:
            if not self._breaker.wait(OPEN_SECONDS) or self._edge is None:
                metrics.PURGES.labels("not tried").inc()
                continue
            problem = self._purge(self._edge, article_id)
            metrics.PURGES.labels("failed" if problem else "done").inc()
            if problem:
                cause = f"article {article_id}: {problem!r}"
                log.warning("the edge did not purge", extra={"server": self._host, "cause": cause})

    def _purge(self, edge: HTTPConnectionPool, article_id: int) -> object:
        """What went wrong: an error, or a status other than 204; else None."""
        try:
            status = _send(edge, "POST", f"/articles/{article_id}")
        except HTTPError as error:
            if self._edge is edge:  # else the probe has found it again since this began
                self._breaker.trip(error)
            return error
        return None if status == 204 else status

    def _probe(self) -> None:
        self._edge = first_address(self._host, self._port, self._try)

    def _try(self, address: str) -> HTTPConnectionPool:
        edge = HTTPConnectionPool(address, self._port, maxsize=CONNECTIONS)
        # Any answer will do. One that hangs accepts connections, too, so connecting alone proves nothing.
        _send(edge, "GET", "/alive")
        return edge


def _send(edge: HTTPConnectionPool, method: str, path: str) -> int:
    """The status of the answer. Both requests are idempotent."""
    try:
        return edge.urlopen(method, path, retries=False, timeout=TIMEOUT).status
    except ProtocolError as error:
        # The edge closed this connection while it was idle.
        if not isinstance(error.args[-1], ConnectionError):
            raise
        return edge.urlopen(method, path, retries=False, timeout=TIMEOUT).status
