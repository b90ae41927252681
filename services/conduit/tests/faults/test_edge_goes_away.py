"""An edge cache that is down or hangs hardly delays a writer, and is purged again soon after it is back."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conduit import metrics
from conduit.adapters.edge_purge import PurgeEdge
from conduit_testing.proxy import Proxy, proxied

MOST_SECONDS = 0.3  # a tenth is promised; the rest is for a busy machine
BACK_WITHIN_SECONDS = 5.0

every_break = pytest.mark.parametrize("broken", [Proxy.cut, Proxy.hold], ids=["refused", "hanging"])
told: list[str] = []


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _note(self) -> None:
            told.append(self.path)
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _note

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with proxied(f"http://127.0.0.1:{server.server_address[1]}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


@pytest.fixture
def edge(proxy: Proxy) -> Iterator[PurgeEdge]:
    """One that was found, whose proxy is whole again afterwards."""
    edge = PurgeEdge(proxy.url)
    _until_told(edge, 1)
    yield edge
    proxy.mend()


def _until_told(edge: PurgeEdge, article_id: int) -> None:
    deadline = time.monotonic() + BACK_WITHIN_SECONDS
    told.clear()
    while f"/articles/{article_id}" not in told:
        assert time.monotonic() < deadline
        edge.purge([article_id])
        time.sleep(0.05)


def _seconds(edge: PurgeEdge, times: int = 1) -> float:
    """The seconds that so many consecutive writers wait for the edge."""
    started = time.monotonic()
    for _ in range(times):
        edge.purge([2])
    return time.monotonic() - started


def _counted(result: str) -> float:
    value: float = metrics.PURGES.labels(result)._value.get()
    return value


@every_break
def test_only_the_first_writer_waits_for_a_missing_edge(
    edge: PurgeEdge, proxy: Proxy, broken: Callable[[Proxy], None]
) -> None:
    failed, not_tried = _counted("failed"), _counted("not tried")
    broken(proxy)
    assert _seconds(edge) < MOST_SECONDS
    assert _seconds(edge, 50) < MOST_SECONDS
    assert (_counted("failed") - failed, _counted("not tried") - not_tried) == (1, 50)
    proxy.mend()
    _until_told(edge, 4)


def test_a_connection_closed_while_idle_loses_no_purge(edge: PurgeEdge, proxy: Proxy) -> None:
    proxy.drop_connections()
    told.clear()
    edge.purge([5])
    assert told == ["/articles/5"]


def test_a_slow_dns_lookup_delays_no_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(*_arguments: Any, **_named: Any) -> Any:
        over.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    edge = PurgeEdge("http://cdn:8081")
    assert _seconds(edge) < MOST_SECONDS
    assert _seconds(edge, 50) < MOST_SECONDS
    over.set()
