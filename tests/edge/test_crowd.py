"""More at once than the edge can answer soon: all who are connected are answered, and who was late leaves with it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.edge.conftest import Edge, docker
from tests.edge.origin import Origin

pytestmark = pytest.mark.docker

CROWD = 400  # fewer than NGINX hears of in one turn
# A twentieth of a core, in which a hit takes 3 ms and more.
PERIOD, QUOTA = 20_000, 1_000
WAITS = 60


@contextmanager
def _slow_and_stopped(edge: Edge) -> Iterator[None]:
    """Whatever comes meanwhile is there at once when it goes on."""
    update = ["update", "--cpu-period", str(PERIOD), "--cpu-quota"]
    docker(*update, str(QUOTA), edge.container)
    docker("pause", edge.container)
    try:
        yield
    finally:
        docker("unpause", edge.container)


def _connected(edge: Edge) -> http.client.HTTPConnection:
    """Somebody who has asked for something already."""
    place = edge.client.base_url
    connection = http.client.HTTPConnection(place.host, place.port, timeout=WAITS)
    connection.request("GET", "/health")
    connection.getresponse().read()
    return connection


def test_all_of_a_crowd_are_answered_and_the_late_leave(edge: Edge, origin: Origin, article: int, word: str) -> None:
    paths = [
        f"/assets/{word}.js", "/", f"/article/{word}%3F%20a", f"/api/articles/x-{article}?utm=1",
        f"/api/articles?tag={word}&limit=5", f"/api/articles/{article}/comments?limit=5",
    ]  # fmt: skip
    calm = {path: edge.get(path).json() for path in paths}
    asked = {one.path for one in origin.asked}
    with ExitStack() as opened:
        crowd = [opened.enter_context(closing(_connected(edge))) for _ in range(CROWD)]
        asked.add("/health")
        try:
            with _slow_and_stopped(edge):
                for number, connection in enumerate(crowd):
                    connection.request("GET", paths[number % len(paths)])
            stayed: list[http.client.HTTPConnection] = []
            left: list[http.client.HTTPConnection] = []
            for number, connection in enumerate(crowd):
                answer = connection.getresponse()
                assert (answer.status, json.load(answer)) == (200, calm[paths[number % len(paths)]])
                (left if answer.getheader("Connection") == "close" else stayed).append(connection)
        finally:
            docker("update", "--cpu-quota", "-1", edge.container)
        assert stayed, "also those went who were answered soon"
        assert len(left) > CROWD / 4
        assert {one.path for one in origin.asked} == asked
        for connection in stayed:
            connection.request("GET", paths[0])
            answer = connection.getresponse()
            assert json.load(answer) == calm[paths[0]]
            assert answer.getheader("Connection") == "keep-alive", "nobody is late now"


def test_who_is_signed_in_stays_in_a_crowd(edge: Edge, origin: Origin, article: int) -> None:
    """The origin is asked what the reader asked for, to the letter; and it has the say."""
    del origin
    with ExitStack() as opened:
        crowd = [opened.enter_context(closing(_connected(edge))) for _ in range(CROWD)]
        try:
            with _slow_and_stopped(edge):
                for connection in crowd:
                    connection.request("GET", f"/api/articles/x-{article}?a=%61", headers={"Authorization": "Token jo"})
            for connection in crowd:
                answer = connection.getresponse()
                seen = json.load(answer)
                assert seen == {"path": f"/api/articles/x-{article}?a=%61", "viewer": "Token jo"}
                assert answer.getheader("Connection") == "keep-alive"
        finally:
            docker("update", "--cpu-quota", "-1", edge.container)
