"""More at once than the edge can answer soon: who is connected is answered, and newcomers are turned away at once."""

import http.client
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.edge.conftest import CONNECTIONS, Edge

pytestmark = pytest.mark.docker

CROWD = CONNECTIONS + 50
WAITS = 20  # seconds; more than the edge waits for the rest of a request


@contextmanager
def _crowd(edge: Edge, path: str) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Connections on which half a request has come: those that the edge took, and those that it closed."""
    place = edge.client.base_url
    with ExitStack() as opened:
        everybody = []
        for _ in range(CROWD):
            one = opened.enter_context(closing(socket.create_connection((place.host, place.port or 80), WAITS)))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: edge\r\n".encode())
            everybody.append(one)
        edge.status_inside("GET", "/")  # a turn of the edge later
        closed = select.select(everybody, [], [], 1)[0]
        yield [one for one in everybody if one not in closed], closed


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_newcomers_are_turned_away_and_the_others_are_answered(edge: Edge, word: str) -> None:
    path = f"/assets/{word}.js"
    calm = edge.get(path)
    with _crowd(edge, path) as (taken, turned_away):
        assert len(taken) > CONNECTIONS * 0.8  # it closes some to have free ones before it has read what came on them
        assert turned_away
        assert all(_is_over(one) for one in turned_away)
        for one in taken:
            one.sendall(b"Connection: close\r\n\r\n")
        for one in taken:
            answer = http.client.HTTPResponse(one)
            answer.begin()
            assert (answer.status, answer.read()) == (200, calm.content)
    assert edge.get(path).content == calm.content


def test_who_asks_nothing_makes_room_for_newcomers(edge: Edge, word: str) -> None:
    place = edge.client.base_url
    with ExitStack() as opened:
        for _ in range(CROWD):
            connection = http.client.HTTPConnection(place.host, place.port, timeout=WAITS)
            opened.enter_context(closing(connection))
            connection.request("GET", f"/assets/{word}.js")
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (200, "keep-alive")
            answer.read()
