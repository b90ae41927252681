"""What an interrupted command leaves in Docker, and that the next `up` does not trip over it."""

import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.stage import engine, leftovers, topology
from infra.stage.problems import Problem
from tests.running import PORTS, Stage, Stages, environment, run


@pytest.mark.stage(2)
@pytest.mark.docker
def test_an_up_waits_for_a_stop_that_is_under_way(stages: Stages) -> None:
    """Docker calls the box healthy until it ends. It ends with its last request, whose body comes in slowly here."""
    stage, _ = stages.bring_up(2)
    app, ended = stage.host("app"), threading.Event()
    with socket.create_connection(("127.0.0.1", PORTS[2])) as slow:
        slow.sendall(b"POST /api/users HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        sending = threading.Thread(target=_trickle, args=(slow, ended))
        sending.start()
        stop = subprocess.Popen(["docker", "stop", "-t", "120", app], stdout=subprocess.DEVNULL)
        try:
            said = _up(stage, f"waiting until {app} has stopped", ended)
        finally:
            ended.set()
            sending.join()
    assert stop.wait(30) == 0
    assert "is up" in said
    assert stage.get("/ready").status_code == 200
    assert run(["docker", "inspect", "-f", "{{.State.Running}}", stage.host("app")], stage.folder).strip() == "true"


def _up(stage: Stage, awaited: str, ended: threading.Event) -> str:
    """Bring it up, and say that the request has ``ended`` when that is awaited. What make printed."""
    said = ""
    with subprocess.Popen(
        stage.make_command("up"), cwd=stage.folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as make:
        assert make.stdout is not None
        for line in make.stdout:
            said += line
            if awaited in line:
                assert not ended.is_set()
                ended.set()
    assert ended.is_set(), f"it did not say that it was {awaited}: {said[-3000:]}"
    assert make.returncode == 0, said[-3000:]
    return said


def _trickle(slow: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        try:
            slow.sendall(b" ")
        except OSError:
            return


@pytest.mark.long
@pytest.mark.stage(2)
@pytest.mark.docker
def test_a_box_that_falls_ill_while_compose_is_at_work_is_started_anew(stages: Stages, tmp_path: Path) -> None:
    """As an app does whose database takes long to be replaced. Here it stands still until it is stopped."""
    stage, _ = stages.bring_up(2)
    app, real = stage.host("app"), shutil.which("docker")
    started = _started_at(stage, app)
    docker = tmp_path / "docker"
    docker.write_text(
        f"""#!/bin/sh
case " $* " in
  *" up --detach "*)
    if mkdir {tmp_path}/fell-ill 2>/dev/null; then
      {real} kill --signal STOP {app}
      until [ "$({real} inspect -f '{{{{.State.Health.Status}}}}' {app})" = unhealthy ]; do sleep 0.2; done
    fi ;;
  *" stop app "*) {real} kill --signal CONT {app} ;;
esac
exec {real} "$@"
"""
    )
    docker.chmod(0o755)
    env = environment() | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    up = stage.make_command("up")
    try:
        done = subprocess.run(up, cwd=stage.folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    finally:
        subprocess.run(["docker", "kill", "--signal", "CONT", app], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "fell-ill").exists()
    assert stage.get("/ready").status_code == 200
    assert _started_at(stage, app) != started


def _started_at(stage: Stage, box: str) -> str:
    return run(["docker", "inspect", "-f", "{{.State.StartedAt}}", box], stage.folder)


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
    rows = [
        {"ID": "1", "Service": "app", "Health": "unhealthy"},
        {"ID": "2", "Service": "db", "Health": "healthy"},
        {"ID": "3", "Service": "mail"},
    ]
    ran: list[list[str]] = []
    monkeypatch.setattr(leftovers, "compose_rows", lambda *_: rows)
    monkeypatch.setattr(leftovers, "run", ran.append)
    assert leftovers.stop_unhealthy(topology.read(2))
    assert [command[-2:] for command in ran] == [["stop", "app"]]
    assert leftovers.stop_unhealthy(topology.read(2), {"1", "2"})
    ran.clear()
    assert not leftovers.stop_unhealthy(topology.read(2), {"2", "3"}), "it was started just now"
    rows[0]["Health"] = "healthy"
    assert not leftovers.stop_unhealthy(topology.read(2))
    assert ran == []


SIZE = {"CpuPeriod": 10_000, "CpuQuota": 1_250, "CpusetCpus": ""}


def _boxes_of(sizes: dict[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch, status: int = 0) -> list[list[str]]:
    """Docker has these boxes on two cores; it says so in what is returned where it is told to change one."""
    label = "com.docker.compose.service"
    boxes = [
        {"Name": f"/x-{name}-1", "Config": {"Labels": {label: name}}, "HostConfig": size}
        for name, size in sizes.items()
    ]
    told: list[list[str]] = []

    def answer(command: list[str]) -> "subprocess.CompletedProcess[str]":
        if command[1] == "update":
            told.append(command[2:])
            return subprocess.CompletedProcess(command, status, "", "no such cores")
        return _said(" ".join(sizes) if command[1] == "ps" else json.dumps(boxes))

    monkeypatch.setattr(leftovers, "answer", answer)
    monkeypatch.setattr(engine, "look", lambda: SimpleNamespace(cores=2))
    return told


def _of_boxes(*names: str, cpuset: str = "") -> topology.Topology:
    boxes = {name: topology.Box(0.125, 2**28, period=10_000, cpuset=cpuset) for name in names}
    return topology.Topology(3, "conduit-stage3", boxes, names[0], 8000, 8003)


def test_a_box_that_a_killed_command_left_with_another_size_gets_its_own_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {
        "lb": SIZE,
        "app": SIZE | {"CpusetCpus": "0-1"},
        "db": SIZE | {"CpuQuota": 20_000},
        "cache": SIZE | {"CpuPeriod": 20_000, "CpuQuota": 2_500},
        "media": SIZE | {"CpusetCpus": "1"},
    }
    told = _boxes_of(sizes, monkeypatch)
    leftovers.give_back_sizes(_of_boxes(*sizes))
    own = ["--cpu-period", "10000", "--cpu-quota", "1250", "--cpuset-cpus", "0-1"]
    assert told == [[*own, f"x-{name}-1"] for name in ("db", "cache", "media")]
    assert capsys.readouterr().out.splitlines()[0].startswith("Stage 3: x-db-1 has its 0.125 CPU again")
    told.clear()
    leftovers.give_back_sizes(_of_boxes(*sizes, cpuset="1"))
    assert [words[-2:] for words in told] == [["1", f"x-{name}-1"] for name in ("lb", "app", "db", "cache")]


def test_where_it_cannot_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _boxes_of({"db": SIZE | {"CpuQuota": 20_000}}, monkeypatch, status=1)
    with pytest.raises(Problem, match=r"x-db-1 has not the 0.125 CPU that is set.*no such cores"):
        leftovers.give_back_sizes(_of_boxes("db"))


def test_a_stage_without_boxes_has_none_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _boxes_of({}, monkeypatch)
    leftovers.give_back_sizes(_of_boxes("db"))


@pytest.mark.stage(1)
@pytest.mark.docker
def test_an_up_gives_back_sizes_that_a_killed_command_could_not(stages: Stages) -> None:
    stage, _ = stages.bring_up(1)
    shown = ["docker", "inspect", "-f", "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}", stage.host("box")]
    own = run(shown, stage.folder)
    run(["docker", "update", "--cpu-period", "10000", "--cpu-quota", "20000", stage.host("box")], stage.folder)
    started = _started_at(stage, stage.host("box"))
    assert run(shown, stage.folder) != own
    said = run(stage.make_command("up"), stage.folder)
    assert run(shown, stage.folder) == own
    assert "CPU again, which a killed command took" in said
    assert _started_at(stage, stage.host("box")) == started, "without a start"


def test_of_too_many_workers_the_last_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["app1-1", "worker-2", "worker-10", "worker-3", "mail-1"]
    rows = [f"conduit-stage4-{name}\t{name.rpartition('-')[0]}\t{name.rpartition('-')[2]}" for name in names]
    asked: list[list[str]] = []

    def answer(command: list[str]) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        return _said("\n".join(rows) if command[1] == "ps" else "")

    monkeypatch.setattr(leftovers, "answer", answer)

    def remove(workers: int) -> None:
        boxes = {"app1": topology.Box(0.25, 2**28), "worker": topology.Box(0.25, 2**28, workers)}
        leftovers._remove_surplus(topology.Topology(4, "conduit-stage4", boxes, "lb", 8000, 8004))

    remove(2)
    assert asked[1:] == [["docker", step, "conduit-stage4-worker-10"] for step in ("stop", "rm")]
    asked.clear()
    remove(3)
    assert [command[1] for command in asked] == ["ps"]
