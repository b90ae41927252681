"""Stage 1's box, on real containers: its two programs under one supervisor, as one ordinary user."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest

from conduit_testing.client import Api
from conduit_testing.pictures import LARGEST, largest
from conduit_testing.waiting import until
from infra.stage import settings
from tests.stages.conftest import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.stage]

# A project and a port of its own: a stage that someone runs, and its data, stay as they are.
PROJECT = "conduit-test-box"
BOX = f"{PROJECT}-box-1"
PORT = "18001"
MAIL_PORT = "18026"


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def compose(*arguments: str) -> None:
    command = ["docker", "compose", "-p", PROJECT, "-f", "docker-compose.stage1.yml", *arguments]
    env = {**os.environ, **settings.defaults(), "STAGE1_PORT": PORT, "STAGE1_MAIL_PORT": MAIL_PORT}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def health() -> str:
    return docker("inspect", "-f", "{{.State.Health.Status}}", BOX)


def ready() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    def said() -> str:
        return f"not within {seconds} s:\n{docker('logs', '--tail', '15', BOX)}"

    until(condition, said, within=seconds, pause=0.5)


def pid_of(program: str) -> int:
    return int(docker("exec", BOX, "s6-svstat", "-o", "pid", f"/run/box/{program}"))


@pytest.fixture(scope="module", autouse=True)
def box() -> Iterator[None]:
    compose("down", "--volumes")
    compose("up", "--build", "--detach", "--wait")
    yield
    compose("down", "--volumes")


@pytest.mark.parametrize("program", ["postgres", "conduit"])
def test_a_program_that_dies_is_restarted(program: str) -> None:
    before = pid_of(program)
    docker("exec", BOX, "kill", "-KILL", str(before))
    wait_for(lambda: pid_of(program) not in (before, -1), 5)
    wait_for(ready, 45)


def test_everything_runs_as_one_ordinary_user_with_no_rights() -> None:
    script = "cat /proc/[0-9]*/status 2>/dev/null | grep -E '^(Uid|CapBnd|NoNewPrivs)' | sort -u"
    states = docker("exec", BOX, "sh", "-c", script).splitlines()
    assert [" ".join(line.split()) for line in states] == [
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Uid: 1000 1000 1000 1000",
    ]
    tried = subprocess.run(["docker", "exec", BOX, "touch", "/usr/x"], capture_output=True, text=True, check=False)
    assert "Read-only file system" in tried.stderr


def test_it_has_the_size_of_a_box() -> None:
    host = json.loads(docker("inspect", "-f", "{{json .HostConfig}}", BOX))
    assert (host["CpuPeriod"], host["CpuQuota"]) == (20_000, 5_000)
    assert host["Memory"] == host["MemorySwap"] == 256 << 20


def test_the_app_is_published_on_this_machine_only_and_the_database_not_at_all() -> None:
    assert docker("port", BOX) == f"8000/tcp -> 127.0.0.1:{PORT}"


def test_the_largest_uploads_do_not_run_it_out_of_memory() -> None:
    """With all of PostgreSQL's shared memory in use, as after a day of work."""
    fill = (
        "DO $$ BEGIN FOR n IN 1..14 LOOP "
        "EXECUTE format('CREATE TABLE fill_%s AS SELECT g, repeat(''x'', 1000) FROM generate_series(1, 5000) g', n); "
        "EXECUTE format('SELECT count(*) FROM fill_%s', n); END LOOP; END $$"
    )
    docker("exec", BOX, "psql", "-qX", "-h", "127.0.0.1", "-U", "conduit", "-d", "conduit", "-c", fill)
    before = pid_of("conduit"), pid_of("postgres")
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
        jo = Api(http).sign_up()
        slug = jo.slug()
        for name in LARGEST:
            response = jo.upload(slug, largest(name))
            assert response.status_code == 200, f"{name}: {response.text}"
            assert response.json()["article"]["cover"]["state"] == "ready"
        assert jo.get("/articles").status_code == 200
    assert (pid_of("conduit"), pid_of("postgres")) == before
    assert docker("inspect", "-f", "{{.State.OOMKilled}} {{.RestartCount}}", BOX) == "false 0"


def test_a_box_that_was_killed_comes_back_with_its_data() -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
        slug = Api(http).sign_up().slug()
        before = Api(http).article(slug)
    docker("kill", BOX)
    docker("start", BOX)
    wait_for(ready, 60)
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as http:
        assert Api(http).article(slug) == before


def test_new_secrets_are_taken_over() -> None:
    """A second clone on the same machine, or `secrets/` made again: the data stays, the password changes."""
    setup = "echo 0 > /data/postgres-17/password.sha256"
    docker("exec", BOX, "sh", "-c", setup)
    docker("restart", "--time", "30", BOX)
    wait_for(ready, 60)
    assert "the password changed; setting it" in docker("logs", BOX)


def test_a_program_that_cannot_be_restarted_makes_the_box_unhealthy() -> None:
    wait_for(lambda: health() == "healthy", 60)
    docker("exec", BOX, "s6-svc", "-d", "/run/box/postgres")
    wait_for(lambda: health() == "unhealthy", 60)
    docker("exec", BOX, "s6-svc", "-u", "/run/box/postgres")
    wait_for(lambda: health() == "healthy", 60)


def test_told_to_stop_it_ends_well_the_app_first() -> None:
    docker("stop", "--time", "30", BOX)
    assert docker("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", BOX) == "0 false"
    command = ["docker", "logs", "--tail", "30", BOX]
    lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout
    assert lines.rindex("Finished server process") < lines.rindex("received fast shutdown request")
    assert lines.rstrip().endswith("database system is shut down")
