"""A name whose first address does not answer: the next one is tried, by every adapter that has a circuit breaker."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conduit import metrics
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.edge_purge import PurgeEdge
from conduit.adapters.media_http import HttpMedia
from conduit.errors import UnavailableError
from conduit.media_names import report_file
from conduit_testing.deployments import NewRedis
from conduit_testing.waiting import until

NAME = "two-addresses.test"


@pytest.fixture(autouse=True)
def name_with_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on the first of them."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != NAME:
            return resolve(host, port, *args, **options)
        return [info for address in ("127.0.0.2", "127.0.0.1") for info in resolve(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
def http_port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_response(204)
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_DELETE = _answer

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_cache_is_found_at_its_second_address(new_redis: NewRedis) -> None:
    cache = RedisCache(new_redis().replace("127.0.0.1", NAME))
    cache.open()
    until(lambda: cache.is_available, "the cache is not used", within=10.0)
    cache.close()


def test_an_edge_is_found_at_its_second_address(http_port: int) -> None:
    done: Callable[[], float] = metrics.PURGES.labels("done")._value.get
    before = done()
    edge = PurgeEdge(f"http://{NAME}:{http_port}")

    def purged() -> bool:
        edge.purge([1])
        return done() > before

    until(purged, "nothing was purged", within=10.0)


def test_an_object_store_is_found_at_its_second_address(http_port: int) -> None:
    media = HttpMedia(f"http://{NAME}:{http_port}")

    def deleted() -> bool:
        with contextlib.suppress(UnavailableError):
            media.delete(report_file(1))
            return True
        return False

    until(deleted, "nothing was deleted", within=10.0)
