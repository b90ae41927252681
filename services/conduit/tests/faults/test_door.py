"""The server's door: who comes while the box is crowded is turned away unread, and the others are answered."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import REGISTRY

from conduit import server
from conduit.crowd import Crowd
from conduit_testing.deployments import NewDatabase, migrated, served, settings_for


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> Iterator[str]:
    with served(settings_for(migrated(new_database)), turns_away=True) as base_url:
        yield base_url


def _count() -> float:
    return REGISTRY.get_sample_value("conduit_connections_turned_away_total") or 0.0


def test_newcomers_are_turned_away_and_who_is_connected_is_answered_and_leaves(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _count()
    with httpx.Client(base_url=url, timeout=5) as connected:
        assert connected.get("/health").headers.get("connection") != "close"
        monkeypatch.setattr(Crowd, "is_full", True)
        monkeypatch.setattr(server, "LOOPBACK", "127.0.0.9")  # else whoever comes from there is let in
        place = connected.base_url
        for _ in range(50):
            with socket.create_connection((place.host, place.port or 80), timeout=5) as newcomer:
                try:
                    newcomer.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert newcomer.recv(9) == b""
                except (ConnectionResetError, BrokenPipeError):
                    pass
        answer = connected.get("/health")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert _count() == before + 50
        monkeypatch.undo()
        assert connected.get("/health").headers.get("connection") != "close"


def test_many_come_in_at_once(url: str) -> None:
    """More than the event loop accepts in a turn."""
    place = httpx.URL(url)
    crowd = [socket.create_connection((place.host, place.port or 80), timeout=5) for _ in range(200)]
    try:
        for one in crowd:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert {one.recv(12) for one in crowd} == {b"HTTP/1.1 200"}
    finally:
        for one in crowd:
            one.close()
