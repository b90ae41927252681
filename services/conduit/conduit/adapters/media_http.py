"""Media in an object store on a box of its own, over HTTP: no app box holds a file that another would miss.

The store answers PUT, GET and DELETE by a file's name, and lists a folder as NGINX does
(https://nginx.org/en/docs/http/ngx_http_autoindex_module.html, in JSON). One that hangs, or whose name the DNS takes
seconds to know nothing of, must not hold up requests. So after a failure it is looked for beside them, and whoever
needs it meanwhile is told soon.
"""

import json
import logging
import socket
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from threading import Lock, Thread
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import EmptyPoolError, HTTPError, ProtocolError

from conduit.errors import UnavailableError
from conduit.media_names import checked, public_address

log = logging.getLogger(__name__)

TIMEOUT = Timeout(connect=1.0, read=1.5)
LOOK_SECONDS = 0.5  # that a request waits while the store is looked for
# Connections, and so the threads that a hanging store can hold: who comes next waits for a place, not for an answer.
AT_ONCE = 4
PLACE_SECONDS = 1


class HttpMedia:
    """Files at ``url``, named as Media names them. A browser finds the public ones at ``/media/`` of the site."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._headers = {"Host": parts.netloc}
        self._lock = Lock()
        self._store: HTTPConnectionPool | None = None
        self._looking: Future[HTTPConnectionPool] | None = None

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
            # Both by the store's clock.
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
        """The store's answer, which is 2xx or 404."""
        store = self._found()
        try:
            answer = self._ask(store, method, f"/{path}", body, headers)
        except EmptyPoolError as error:
            # Its places here are taken, which says nothing of the store: for those who have one, it answers.
            raise self._failed(error) from error
        except HTTPError as error:
            with self._lock:
                if self._store is store:
                    self._store = None
            raise self._failed(error) from error
        if answer.status != 404 and not 200 <= answer.status < 300:
            # It answers, so it is not looked for: a full disk, say, which reading does not mind.
            raise self._failed(f"{method} {path}: {answer.status}")
        return answer

    def _ask(
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
                pool_timeout=PLACE_SECONDS,
            )

        try:
            return once()
        except ProtocolError as error:
            # A connection that had waited here while its other end was closed. Each method may be done twice.
            if not isinstance(error.args[-1], ConnectionError):
                raise
            return once()

    def _found(self) -> HTTPConnectionPool:
        """The store as it was found last; else wait a little for who looks for it. Raises UnavailableError."""
        with self._lock:
            if self._store is not None:
                return self._store
            if self._looking is None or self._looking.done():
                self._looking = Future()
                Thread(target=self._look, args=(self._looking,), daemon=True).start()
            looking = self._looking
        try:
            return looking.result(LOOK_SECONDS)
        except (HTTPError, OSError) as error:  # TimeoutError is one of these
            raise self._failed(error) from error

    def _look(self, looking: "Future[HTTPConnectionPool]") -> None:
        """Resolve the name and have an answer, whatever it is: a frozen box takes connections too."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            store = HTTPConnectionPool(str(found[0][4][0]), self._port, maxsize=AT_ONCE, block=True)
            self._ask(store, "HEAD", "/")
        except BaseException as error:  # it belongs to who waits for it
            looking.set_exception(error)
        else:
            with self._lock:
                self._store = store
            looking.set_result(store)

    def _failed(self, cause: object) -> UnavailableError:
        log.warning("the place for files is no help", extra={"server": self._host, "cause": f"{cause!r}"})
        return UnavailableError("the place for files")
