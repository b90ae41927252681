"""What an interrupted command leaves in Docker, and that the next `up` does not trip over it."""

import json
import socket
import subprocess
import threading

import pytest

from infra.stage import leftovers, topology
from tests.running import PORTS, Stages, run


@pytest.mark.stage(2)
@pytest.mark.docker
def test_an_up_waits_for_a_stop_that_is_under_way(stages: Stages) -> None:
    """Docker calls the box healthy until it ends. It ends with its last request, whose body comes in slowly here."""
    stage, _ = stages.bring_up(2)
    ended = threading.Event()
    with socket.create_connection(("127.0.0.1", PORTS[2])) as slow:
        slow.sendall(b"POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        stop = subprocess.Popen(["docker", "stop", "-t", "8", stage.host("app")], stdout=subprocess.DEVNULL)
        sending = threading.Thread(target=_trickle, args=(slow, ended))
        sending.start()
        try:
            said = stage.make("up")
        finally:
            ended.set()
            sending.join()
    assert stop.wait(30) == 0
    assert f"waiting until {stage.host('app')} has stopped" in said
    assert stage.get("/ready").status_code == 200
    assert run(["docker", "inspect", "-f", "{{.State.Running}}", stage.host("app")], stage.folder).strip() == "true"


def _trickle(slow: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        try:
            slow.sendall(b" ")
        except OSError:
            return


def _event(action: str, name: str, signal: str | None = None) -> str:
    about = {"name": name} | ({"signal": signal} if signal else {})
    return json.dumps({"Action": action, "Actor": {"Attributes": about}})


def _said(text: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], 0, text, "")


def test_only_what_was_told_to_stop_and_has_not_ended_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        _event("kill", "app", "15"),
        _event("kill", "db", "2"),
        _event("die", "db"),
        _event("kill", "lb", "1"),  # a reload
        _event("kill", "worker", "9"),
        _event("kill", "cdn", "3"),
    ]
    asked: list[list[str]] = []

    def answer(command: list[str]) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        return _said("\n".join(events) if command[1] == "events" else "")

    monkeypatch.setattr(leftovers, "answer", answer)
    leftovers._await_stops(topology.read(2))
    assert [command for command in asked if command[1] == "wait"] == [["docker", "wait", "app", "cdn"]]


def test_a_box_that_is_unhealthy_from_before_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"Service": "app", "Health": "unhealthy"}, {"Service": "db", "Health": "healthy"}, {"Service": "mail"}]
    ran: list[list[str]] = []
    monkeypatch.setattr(leftovers, "compose_rows", lambda *_: rows)
    monkeypatch.setattr(leftovers, "run", ran.append)
    leftovers._stop_unhealthy(topology.read(2))
    assert [command[-2:] for command in ran] == [["stop", "app"]]
    ran.clear()
    rows[0]["Health"] = "healthy"
    leftovers._stop_unhealthy(topology.read(2))
    assert ran == []
