"""Media in an object store on a box of its own, over HTTP: no app box holds a file that another would miss.

The store answers PUT, GET and DELETE by a file's name, to who has its password, and lists a folder as NGINX does
(https://nginx.org/en/docs/http/ngx_http_autoindex_module.html, in JSON). A store that hangs must not hold up requests:
after a failure the circuit breaker refuses them until its probe has an answer.
"""

import json
import logging
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import EmptyPoolError, HTTPError, ProtocolError
from urllib3.util import make_headers

from conduit.adapters.circuit_breaker import CircuitBreaker, first_address
from conduit.errors import UnavailableError
from conduit.media_names import checked, public_address

log = logging.getLogger(__name__)

_USER = "conduit"
TIMEOUT = Timeout(connect=1.0, read=1.5)
OPEN_SECONDS = 0.5  # how long after the circuit opened a request waits for the probe
PROBE_PAUSE_SECONDS = 0.2
# A bulkhead: a hanging store holds as many threads as there are connections. Other requests wait for a connection, and
# not for long.
CONNECTIONS = 4
CONNECTION_WAIT_SECONDS = 1


class HttpMedia:
    """Files at ``url``, named as Media names them. A browser finds the public ones at ``/media/`` of the site."""

    def __init__(self, url: str, password: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._headers = {"Host": parts.netloc}
        if password is not None:
            self._headers |= make_headers(basic_auth=f"{_USER}:{password}")
        self._store: HTTPConnectionPool | None = None
        self._breaker = CircuitBreaker(f"{self._host}:{self._port}", self._probe, pause=PROBE_PAUSE_SECONDS)

    def close(self) -> None:
        """Refuse every call from now on, and end the probe."""
        self._breaker.stop()
        if self._store is not None:
            self._store.close()

    def put(self, name: str, content: bytes, content_type: str) -> None:
        self._call("PUT", checked(name), content, {"Content-Type": content_type})

    def get(self, name: str) -> bytes | None:
        answer = self._call("GET", checked(name))
        return None if answer.status == 404 else answer.data

    def delete(self, name: str) -> None:
        self._call("DELETE", checked(name))

    def left_in(self, folder: str, older_than: float) -> list[str]:
        answer = self._call("GET", f"{checked(folder)}/")
        if answer.status == 404:
            return []
        try:
            # Both are times of the store's clock.
            now = parsedate_to_datetime(answer.headers["Date"])
            files = [entry for entry in json.loads(answer.data) if entry["type"] == "file"]
            return [
                f"{folder}/{file['name']}"
                for file in files
                if (now - parsedate_to_datetime(file["mtime"])).total_seconds() >= older_than
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._failed(error) from error

    def url(self, name: str) -> str:
        return public_address(name)

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> BaseHTTPResponse:
        """The store's answer, which is 2xx or 404. Raises UnavailableError."""
        if not self._breaker.wait(OPEN_SECONDS) or (store := self._store) is None:
            raise self._failed("the circuit is open")
        try:
            answer = self._send(store, method, f"/{path}", body, headers)
        except EmptyPoolError as error:
            # All connections are in use, which says nothing about the store: it may answer every one of them.
            raise self._failed(error) from error
        except HTTPError as error:
            if self._store is store:  # else the probe has found it again since this began
                self._breaker.trip(error)
            raise self._failed(error) from error
        if answer.status != 404 and not 200 <= answer.status < 300:
            # It answers, so the circuit stays closed: a full disk, for instance, does not keep anybody from reading.
            raise self._failed(f"{method} {path}: {answer.status}")
        return answer

    def _send(
        self,
        store: HTTPConnectionPool,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> BaseHTTPResponse:
        def once() -> BaseHTTPResponse:
            return store.urlopen(
                method,
                path,
                body,
                self._headers | (headers or {}),
                retries=False,
                timeout=TIMEOUT,
                pool_timeout=CONNECTION_WAIT_SECONDS,
            )

        try:
            return once()
        except ProtocolError as error:
            # The store closed this connection while it was idle. All methods are idempotent.
            if not isinstance(error.args[-1], ConnectionError):
                raise
            return once()

    def _probe(self) -> None:
        self._store = first_address(self._host, self._port, self._try)

    def _try(self, address: str) -> HTTPConnectionPool:
        store = HTTPConnectionPool(address, self._port, maxsize=CONNECTIONS, block=True)
        # Any answer will do. A frozen box accepts connections, too, so connecting alone proves nothing.
        self._send(store, "HEAD", "/")
        return store

    def _failed(self, cause: object) -> UnavailableError:
        log.warning("the media store failed", extra={"server": self._host, "cause": f"{cause!r}"})
        return UnavailableError("the media store")
