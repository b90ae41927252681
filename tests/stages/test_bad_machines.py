"""A machine that cannot run a stage is told so before anything is built, in one line and a remedy."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.stage import checks, lifecycle, ports, stages
from infra.stage.engine import Engine, usable
from infra.stage.problems import Problem
from infra.stage.topology import Box, Topology
from tests.stages.conftest import ROOT, Run

pytestmark = pytest.mark.slow

Says = Callable[[str], dict[str, str]]
GIB = 1 << 30
STAGE = Topology(1, "conduit-stage1", {"box": Box(0.25, GIB // 4)}, "box", 8000, 8001, {"0-63": ("box",)})


def engine(memory: int = 8 * GIB) -> Engine:
    return Engine("20.10", cores=2, memory=memory, cgroups="1", limits_cpu=True, pins_cpu=True, root="")


def info(**said: object) -> str:
    answer = json.dumps({"ServerVersion": "20.10", "NCPU": 2, "MemTotal": 8 * GIB, "DockerRootDir": "/", **said})
    return f"info*) echo '{answer}' ;;"


STOPPED = "Cannot connect to the Docker daemon. Is the docker daemon running?"
FORBIDDEN = "permission denied while trying to connect to the Docker daemon socket"


# `diff` compares two files.
NEED_DOCKER = [verb for verb in stages.VERBS if verb != "diff"]


def typed(verb: str) -> list[str]:
    if verb == "import":
        return [verb, "stage2", "--from", "stage1"]
    return [verb, "stage1", "--what", "kill"] if verb == "experiment" else [verb, "stage1"]


@pytest.mark.parametrize("verb", NEED_DOCKER)
@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (f"*) echo '{STOPPED}' >&2; exit 1 ;;", "The Docker engine does not answer."),
        (f"*) echo '{FORBIDDEN}' >&2; exit 1 ;;", "The Docker engine runs, but this user may not use it."),
        (info() + "\ncompose*) exit 1 ;;", "Docker Compose v2 is not installed"),
    ],
    ids=["stopped", "forbidden", "without Compose"],
)
def test_every_verb_says_why_docker_cannot_be_used(
    docker_says: Says, stage_command: Run, verb: str, cases: str, says: str
) -> None:
    tried = stage_command(*typed(verb), env=docker_says(cases))
    assert tried.returncode == 1
    assert tried.stderr.startswith(says)
    assert "Traceback" not in tried.stderr


@pytest.mark.parametrize(
    ("cases", "says", "remedy"),
    [
        (info(ServerVersion="", ServerErrors=[STOPPED]), "does not answer", "make setup"),
        (info(ServerVersion="19.03.15+dfsg1"), "19.03.15+dfsg1 is too old; 20.10 or newer", "Update"),
        (info(ServerVersion="20.9"), "20.9 is too old; 20.10 or newer", "Update"),
        (info() + "\n'compose version'*) echo v2.19.1 ;;", "2.19.1 is too old; 2.20.3", "make setup"),
        (info() + "\n'compose version'*) echo 2.20.2 ;;", "2.20.2 is too old; 2.20.3", "make setup"),
        (info() + "\n'compose version'*) echo 1.29.2 ;;", "1.29.2 is too old; 2.20.3", "make setup"),
        (info() + "\n'compose version'*) echo 2.26.1-4 ;;\nimage*) exit 1 ;;", "conduit/base:trixie", "make setup"),
    ],
)
def test_a_docker_that_cannot_be_used(
    docker_says: Says, stage_command: Run, cases: str, says: str, remedy: str
) -> None:
    tried = stage_command("up", "stage1", env=docker_says(cases))
    assert tried.returncode == 1
    assert says in tried.stderr
    assert remedy in tried.stderr
    assert "Traceback" not in tried.stderr


@pytest.mark.parametrize("words", [["doctor"], *map(typed, NEED_DOCKER)], ids=lambda words: words[0])
def test_no_docker_at_all(stage_command: Run, tmp_path: os.PathLike[str], words: list[str]) -> None:
    tried = stage_command(*words, env={**os.environ, "PATH": str(tmp_path)})
    assert tried.returncode == 1
    assert "Docker is not installed." in tried.stdout + tried.stderr
    assert "make setup" in tried.stdout + tried.stderr
    assert "Traceback" not in tried.stderr


def test_the_doctor_finds_an_engine_that_is_too_old(stage_command: Run, docker_says: Says) -> None:
    tried = stage_command("doctor", env=docker_says(info(ServerVersion="18.09.1")))
    assert tried.returncode == 1
    assert "Docker Engine 18.09.1 is too old; 20.10 or newer is needed." in tried.stdout
    assert "Update it with your system's packages" in tried.stdout or sys.platform == "darwin"


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "28.0.1", "dev"])
def test_an_engine_that_is_not_known_to_be_old_is_used(
    docker_says: Says, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    cases = info(ServerVersion=version) + "\n'compose version'*) echo v2.20.3-desktop.1 ;;"
    monkeypatch.setenv("PATH", docker_says(cases)["PATH"])
    assert usable().version == version


def test_what_needs_no_docker_asks_for_none(stage_command: Run, tmp_path: os.PathLike[str]) -> None:
    tried = stage_command("diff", "stage2", env={**os.environ, "PATH": str(tmp_path)})
    assert tried.returncode == 0
    assert "+++ docker-compose.stage2.yml" in tried.stdout


def test_a_virtual_machine_with_too_little_memory() -> None:
    checks.memory(engine(), STAGE)
    with pytest.raises(Problem, match=r"1\.0 GiB of memory; stage 1 needs 1\.2 GiB"):
        checks.memory(engine(memory=GIB), STAGE)


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100 * GIB, 99 * GIB, GIB))
    with pytest.raises(Problem, match=r"nearly full: 1\.0 GiB free(.|\n)*docker system df"):
        checks.disk("/")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_a_process_holds(docker_says: Says, monkeypatch: pytest.MonkeyPatch, taken_port: int) -> None:
    monkeypatch.setenv("PATH", docker_says("ps*) ;;")["PATH"])
    assert f"({os.getpid()})" in (ports.holder(taken_port) or "")
    stage = Topology(1, "conduit-stage1", {}, "box", 8000, taken_port)
    with pytest.raises(Problem, match=rf"STAGE1_PORT={taken_port + 1000} make stage1 up(.|\n)*in \.env"):
        checks.free_ports(stage)


def test_the_port_of_a_page_beside_the_boxes_that_a_process_holds(
    docker_says: Says, monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    monkeypatch.setenv("PATH", docker_says("ps*) ;;")["PATH"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    stage = Topology(2, "conduit-stage2", {}, "app", 8000, free, pages={"mail": taken_port})
    with pytest.raises(Problem, match=rf"STAGE2_MAIL_PORT={taken_port + 1000} make stage2 up(.|\n)*in \.env"):
        checks.free_ports(stage)


def test_a_port_that_a_container_holds(docker_says: Says, monkeypatch: pytest.MonkeyPatch, taken_port: int) -> None:
    monkeypatch.setenv("PATH", docker_says("ps*) echo conduit-stage2-app-1 ;;")["PATH"])
    assert ports.holder(taken_port, "conduit-stage1") == "the container conduit-stage2-app-1"
    assert ports.holder(taken_port, "conduit-stage2") is None, "a stage may start again over itself"


NETWORKS = [
    {"Name": "conduit-stage3_app", "IPAM": {"Config": [{"Subnet": "10.83.3.0/25"}]}},
    {"Name": "conduit-stage3_default", "IPAM": {"Config": [{"Subnet": "10.83.3.128/25"}]}},
    {"Name": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}, {"Subnet": "fd00::/80"}]}},
    {"Name": "none", "IPAM": {"Config": None}},
    {"Name": "office", "IPAM": {"Config": [{"Subnet": "10.84.0.0/16"}]}},
]
OWN = {"conduit-stage3_app": "10.83.3.0/25", "conduit-stage3_default": "10.83.3.128/25"}


def test_addresses_that_another_network_has(docker_says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps(NETWORKS)
    monkeypatch.setenv("PATH", docker_says(f"'network ls'*) echo a b ;;\n'network inspect'*) echo '{said}' ;;")["PATH"])
    stage = Topology(3, "conduit-stage3", {}, "lb", 8000, 8003, subnets=OWN)
    checks.free_networks(stage)
    with pytest.raises(Problem, match=r"network office already(.|\n)*STAGE3_NETWORK=10\.93\.3 make stage3 up"):
        checks.free_networks(dataclasses.replace(stage, subnets=OWN | {"conduit-stage3_app": "10.84.3.0/25"}))
    with pytest.raises(Problem, match=r"network conduit-stage3_app already"):
        checks.free_networks(dataclasses.replace(stage, project="another", subnets={"another_app": "10.83.3.0/25"}))
    with pytest.raises(Problem, match=r"another version(.|\n)*make stage3 down"):
        checks.free_networks(dataclasses.replace(stage, subnets=OWN | {"conduit-stage3_app": "10.83.3.128/25"}))
    with pytest.raises(Problem, match=r"10\.83\.0/25 is not a network's address\.\n(.|\n)*STAGE3_NETWORK="):
        checks.free_networks(dataclasses.replace(stage, subnets={"conduit-stage3_app": "10.83.0/25"}))
    checks.free_networks(dataclasses.replace(stage, subnets={}))


def test_a_reader_that_has_read_enough_is_no_error(docker_says: Says) -> None:
    command = [sys.executable, "-m", "infra.stage", "diff", "stage2"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.close()
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (0, "")


def test_a_free_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert ports.holder(port) is None


@pytest.mark.usefixtures("boxes_secrets")
def test_a_port_that_is_none(stage_command: Run, docker_says: Says) -> None:
    cases = info() + "\n'compose version'*) echo 2.26.1 ;;\n*config*) echo 'Invalid hostPort: abc' >&2; exit 1 ;;"
    tried = stage_command("up", "stage1", env=docker_says(cases))
    assert tried.returncode == 1
    assert "Invalid hostPort: abc" in tried.stderr


def test_seeding_a_stage_that_is_down(stage_command: Run, docker_says: Says) -> None:
    box = {
        "labels": {"stage.box": "true", "stage.edge": "8000", "stage.database": "0-63"},
        "cpu_period": 10000,
        "cpu_quota": 2500,
        "mem_limit": "268435456",
        "ports": [{"target": 8000, "published": "8001"}],
    }
    config = json.dumps({"name": "conduit-stage1", "services": {"box": box}})
    cases = info() + f"\n'compose version'*) echo 2.26.1 ;;\n*config*) echo '{config}' ;;"
    tried = stage_command("seed", "stage1", env=docker_says(cases))
    assert tried.returncode == 1
    assert tried.stderr == "Stage 1 is not up.\nStart it with: make stage1 up\n"


def test_of_boxes_that_are_not_up_the_one_that_is_ill_is_named_and_not_one_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = subprocess.CompletedProcess([], 0, "{}", "")
    monkeypatch.setattr(lifecycle, "answer", lambda _command: state)
    boxes = {name: Box(0.25, GIB // 4) for name in ("app", "db")}
    stage = Topology(2, "conduit-stage2", boxes, "app", 8000, 8002)
    waiting = {"Service": "app", "Name": "conduit-stage2-app-1", "State": "created", "Health": ""}
    ill = {"Service": "db", "Name": "conduit-stage2-db-1", "State": "running", "Health": "unhealthy"}
    assert str(lifecycle._why_not_up(stage, [waiting, ill])).startswith("The box db did not become healthy")


def test_ctrl_c_says_so_in_a_line(docker_says: Says, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    env = docker_says(f"info*) : >'{asked}'; exec /bin/sleep 20 ;;")
    command = [sys.executable, "-m", "infra.stage", "up", "stage1"]
    child = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not asked.exists():
        assert time.monotonic() < deadline, "Docker is not asked"
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert child.returncode == 130
    assert said.strip() == "Interrupted. You can run the same command again."
