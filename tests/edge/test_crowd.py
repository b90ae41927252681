"""More at once than the edge can answer soon: who is connected is answered, and newcomers are turned away at once."""

import http.client
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest

from conduit_testing.waiting import until
from tests.edge.conftest import CONNECTIONS, PLACES, Edge
from tests.edge.origin import Answer, Asked, Origin

pytestmark = pytest.mark.docker

CROWD = PLACES + 50
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
        closed = _closed(everybody)
        yield [one for one in everybody if one not in closed], closed


def _closed(connections: list[socket.socket]) -> list[socket.socket]:
    """Once there are no more of them for half a second."""
    by_number = {one.fileno(): one for one in connections}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    count, found = -1, poll.poll(1000)
    while len(found) > count:
        time.sleep(0.5)
        count, found = len(found), poll.poll(0)
    return [by_number[number] for number, _ in found]


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_newcomers_are_turned_away_and_the_others_are_answered(edge: Edge, word: str) -> None:
    path = f"/assets/{word}.js"
    calm = edge.get(path)
    with _crowd(edge, path) as (taken, turned_away):
        assert len(taken) > PLACES * 0.8  # it closes some to have free ones before it has read what came on them
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


def test_an_origin_that_hangs_leaves_room_for_who_reads_what_is_kept(edge: Edge, origin: Origin, word: str) -> None:
    path = f"/assets/{word}.js"
    assert edge.get(path).status_code == 200
    may_answer, waiting = threading.Event(), f"/api/articles/{word}"
    held, told = CONNECTIONS // 2, 50

    def hang(_: Asked) -> Answer:
        may_answer.wait(20)
        return Answer("late")

    origin.answer = hang
    with ThreadPoolExecutor(held + told) as threads:
        try:
            readers = [
                threads.submit(httpx.get, edge.url + waiting, headers={"Authorization": "Token jo"}, timeout=25)
                for _ in range(held + told)
            ]
            until(lambda: sum(one.done() for one in readers) >= told, "those beyond were not told so", within=10)
            assert httpx.get(edge.url + path).status_code == 200
        finally:
            may_answer.set()
        answers = Counter(one.result().status_code for one in readers)
    assert answers == {200: held, 503: told}
