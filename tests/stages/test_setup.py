"""The set-up looks before it acts, says what it may not do itself, and goes on from what is there."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.stage import engine
from tests.stages.conftest import ROOT

pytestmark = pytest.mark.slow

Setup = Callable[..., "subprocess.CompletedProcess[str]"]

# A machine without Docker, as far as the script can see: these and nothing else are on its PATH.
PROGRAMS = ["bash", "cat", "chmod", "chown", "cmp", "cp", "dirname", "grep", "head", "id", "mkdir", "mv", "od"]
PROGRAMS += ["printenv", "rm", "sed", "sleep", "tr", "uname"]
USER = "echo 1000"
ENGINE = "case $1 in version) echo 28.0 ;; compose) echo 2.30.0 ;; esac"


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Runs steps of a copy of the set-up; programs given by name stand in for the machine's."""
    shutil.copytree(ROOT / "infra/setup", tmp_path / "infra/setup")
    path = tmp_path / "bin"
    path.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, name
        (path / name).symlink_to(found)

    def run(*steps: str, env: dict[str, str] | None = None, **programs: str) -> "subprocess.CompletedProcess[str]":
        for name, script in programs.items():
            (path / name).unlink(missing_ok=True)
            (path / name).write_text(f"#!/bin/sh\n{script}\n")
            (path / name).chmod(0o755)
        command = ["/bin/bash", "infra/setup/setup.sh", *steps]
        env = {"PATH": str(path), "HOME": str(tmp_path), **(env or {})}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30, check=False)

    return run


_NAMES = {"PGPASSWORD", "JWT_SECRET", "REDISCLI_AUTH", "MEDIA_PASSWORD", "PATRONI_REPLICATION_PASSWORD"}


def test_secrets_are_made_once_and_only_for_their_owner(setup: Setup, tmp_path: Path) -> None:
    assert setup("secrets").returncode == 0
    first = _secrets(tmp_path)
    assert {name: len(value) for name, value in first.items()} == dict.fromkeys(_NAMES, 64)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").glob("*.env")} == {0o600}
    again = setup("secrets")
    assert _secrets(tmp_path) == first
    assert again.stdout.count("(there already)") == 6


def test_secrets_of_before_are_kept_in_a_file_for_each_box(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/boxes.env").write_text("PGPASSWORD=of-the-data\nJWT_SECRET=of-the-sessions\n")
    assert setup("secrets").returncode == 0
    found = _secrets(tmp_path)
    assert set(found) == _NAMES
    assert (found["PGPASSWORD"], found["JWT_SECRET"]) == ("of-the-data", "of-the-sessions")
    names = sorted(file.name for file in (tmp_path / "secrets").glob("*.env"))
    assert names == ["app.env", "database.env", "media.env", "patroni.env", "redis.env"]


def _secrets(folder: Path) -> dict[str, str]:
    lines = [line for file in (folder / "secrets").glob("*.env") for line in file.read_text().split()]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("name", ["CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"])
def test_a_ca_bundle_is_found_and_kept(setup: Setup, tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("a certificate")
    assert setup("secrets", env={name: str(bundle)}).returncode == 0
    assert (tmp_path / "secrets/ca.pem").read_text() == "a certificate"
    assert setup("secrets").returncode == 0
    assert (tmp_path / "secrets/ca.pem").read_text() == "a certificate"


def test_without_a_ca_bundle_there_is_an_empty_one(setup: Setup, tmp_path: Path) -> None:
    assert setup("secrets").returncode == 0
    assert (tmp_path / "secrets/ca.pem").read_text() == ""


def test_a_ca_bundle_that_is_not_there(setup: Setup) -> None:
    tried = setup("secrets", env={"CA_BUNDLE": "/nowhere.pem"})
    assert tried.returncode == 1
    assert "CA_BUNDLE names /nowhere.pem, which cannot be read." in tried.stderr


def test_a_docker_that_works_is_left_alone(setup: Setup) -> None:
    done = setup("docker", "compose", docker=ENGINE)
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [
        "  docker: engine 28.0 (there already)",
        "  compose: 2.30.0 (there already)",
    ]


def test_a_docker_that_this_user_may_not_use(setup: Setup) -> None:
    tried = setup("docker", docker="echo 'permission denied while trying to connect' >&2; exit 1", id=USER)
    assert tried.returncode == 1
    assert '    sudo usermod -aG docker "$USER"' in tried.stdout


def test_a_docker_elsewhere_that_does_not_answer_is_not_replaced(setup: Setup) -> None:
    tried = setup("docker", docker="exit 1", env={"DOCKER_HOST": "tcp://elsewhere:2375"})
    assert tried.returncode == 1
    assert "unset DOCKER_HOST" in tried.stdout


def test_on_macos_it_says_what_to_install(setup: Setup) -> None:
    tried = setup("docker", uname="echo Darwin")
    assert tried.returncode == 1
    assert "    brew install --cask docker" in tried.stdout


@pytest.mark.skipif(not os.path.exists("/etc/debian_version"), reason="reads this machine's /etc/os-release")
def test_who_is_not_root_gets_the_commands(setup: Setup) -> None:
    tried = setup("docker", id=USER)
    assert tried.returncode == 1
    assert "    sudo apt-get update && sudo apt-get install -y docker.io" in tried.stdout
    tried = setup("compose", id=USER, docker="case $1 in version) echo 28.0 ;; *) exit 1 ;; esac")
    assert tried.returncode == 1
    assert "    sudo bash infra/setup/setup.sh compose" in tried.stdout


@pytest.mark.parametrize("version", ["18.09.1", "19.03.15+dfsg1", "20.9.0"])
def test_an_engine_that_is_too_old_is_left_to_its_owner(setup: Setup, version: str) -> None:
    tried = setup("docker", docker=f"echo {version}")
    assert tried.returncode == 1
    assert f"engine {version} is too old; 20.10 or newer is needed" in tried.stdout
    assert "    # update Docker Engine to 20.10 or newer" in tried.stdout


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "20.10", "27.3.1-ce", "dev"])
def test_an_engine_that_is_not_known_to_be_old_is_taken(setup: Setup, version: str) -> None:
    done = setup("docker", docker=f"echo 'WARNING: no config' >&2; echo {version}")
    assert done.returncode == 0
    assert f"  docker: engine {version} (there already)" in done.stdout


def test_the_set_up_and_the_commands_need_the_same_docker() -> None:
    script = 'for part in common docker compose; do . "infra/setup/$part.sh"; done; echo $ENGINE_NEEDED $COMPOSE_NEEDED'
    said = subprocess.run(["bash", "-euc", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert said.stdout.split() == [engine.ENGINE_NEEDED, engine.COMPOSE_NEEDED]
    assert f"Compose {engine.COMPOSE_NEEDED} or newer" in (ROOT / "infra/tools.compose.yml").read_text()


@pytest.mark.parametrize("version", ["2.20.3", "v2.20.3-desktop.1", "2.26.1-4", "3.0.0"])
def test_a_compose_that_is_new_enough_is_left_alone(setup: Setup, version: str) -> None:
    done = setup("compose", docker=f"case $1 in version) echo 28.0 ;; compose) echo {version} ;; esac")
    assert done.returncode == 0
    assert f"  compose: {version.removeprefix('v')} (there already)" in done.stdout


@pytest.mark.parametrize("version", ["1.29.2", "2.19.1", "2.20.0", "2.20.2+ds1", "nonsense"])
def test_an_old_compose_is_not_taken_for_a_new_one(setup: Setup, version: str) -> None:
    docker = f"case $1 in version) echo 28.0 ;; compose) echo {version} ;; esac"
    tried = setup("compose", id=USER, uname="echo Darwin", docker=docker)
    assert tried.returncode == 1
    assert "2.20.3 or newer is needed" in tried.stdout


SOURCES = {
    "URIs: http://mirror.example/debian": "http://mirror.example/debian",
    "deb [arch=amd64] http://mirror.example/debian/ bookworm main": "http://mirror.example/debian/",
    "URIs: mirror+file://{mirrors}": "https://first.example/debian",
    "deb mirror+file:{mirrors} bookworm main": "https://first.example/debian",
}
# An apt that shows the sources it is given, and fails, so that nothing is installed.
READS_SOURCES = """
. infra/setup/common.sh
. infra/setup/compose.sh
is_debian() { true; }
cat() { printf '%s\\n' "$SOURCES"; }
apt-get() {
  for word in "$@"; do
    case "$word" in Dir::Etc::SourceList=*) command cat "${word#*=}" ;; esac
  done
  return 1
}
install_compose_from_next_debian
"""


def _with_sources(sources: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-Eeuo", "pipefail", "-c", READS_SOURCES]
    env = {**os.environ, "SOURCES": sources}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("sources", "mirror"), SOURCES.items())
def test_compose_comes_from_this_machine_s_mirror(tmp_path: Path, sources: str, mirror: str) -> None:
    """On Debian's cloud images the sources name a file of mirrors, and a line without a mirror is no source."""
    mirrors = tmp_path / "debian.list"
    mirrors.write_text("# ours\nhttps://first.example/debian\tpriority:1\nhttps://second.example/debian\n")
    tried = _with_sources(sources.format(mirrors=mirrors))
    assert tried.returncode == 1
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert tried.stderr.splitlines()[0] == f"deb [signed-by={keyring}] {mirror} trixie main"


@pytest.mark.parametrize("sources", ["", "URIs: mirror+file:///nowhere/debian.list"])
def test_without_a_mirror_it_says_what_to_do(sources: str) -> None:
    tried = _with_sources(sources)
    assert tried.returncode == 1
    assert "No Debian archive is named in /etc/apt" in tried.stdout + tried.stderr


def test_a_python_that_does_not_run_is_passed_over(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/dev.txt").write_text("")
    broken = {"python3.13": "exit 127", "python3.12": "exit 127"}
    # Stands in for a venv: makes .venv/bin/python, which takes whatever pip it is asked for.
    makes = "mkdir -p .venv/bin && cp bin/python3.11 .venv/bin/python"
    works = f"case $* in *venv*.venv) {makes} ;; *--version*) echo Python 3.11 ;; esac"
    done = setup("venv", **broken, **{"python3.11": works})
    assert done.returncode == 0, done.stderr
    assert "Python 3.11" in done.stdout
    assert "(there already)" in setup("venv").stdout
    (tmp_path / "requirements/dev.txt").write_text("# a package more")
    assert "(done)" in setup("venv").stdout
    (tmp_path / ".venv/installed-from.txt").unlink()
    assert "(done)" in setup("venv").stdout, "an environment that was not finished is made again"


@pytest.mark.parametrize("pid", ["", "999999999", str(os.getpid())])
def test_a_pid_file_that_names_no_engine_is_removed(tmp_path: Path, pid: str) -> None:
    """Or the engine would refuse to start: after a hard stop its number may be another program's."""
    file = tmp_path / "docker.pid"
    file.write_text(pid)
    script = f". infra/setup/common.sh; . infra/setup/docker.sh; forget_dead_pid {file} dockerd"
    subprocess.run(["bash", "-euc", script], cwd=ROOT, check=True, capture_output=True)
    assert not file.exists()


def test_a_pid_file_of_a_running_engine_stays(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(str(os.getpid()))
    own = Path("/proc/self/comm").read_text().strip() if Path("/proc/self/comm").exists() else ""
    if own:
        script = f". infra/setup/common.sh; . infra/setup/docker.sh; forget_dead_pid {file} {own!r}"
        subprocess.run(["bash", "-euc", script], cwd=ROOT, check=True, capture_output=True)
        assert file.exists()


@pytest.mark.parametrize(("becomes", "begun"), [("answering", 0), ("gone", 1)])
def test_an_engine_that_runs_and_does_not_answer_is_waited_for_and_begun_anew_if_it_was_ending(
    tmp_path: Path, becomes: str, begun: int
) -> None:
    """Its looks are counted in a file: at the third it answers, or is gone until it is launched."""
    (tmp_path / "looks").write_text("")
    script = f"""
        . infra/setup/common.sh; . infra/setup/docker.sh
        cd {tmp_path}
        is_root() {{ true; }}; has_systemd() {{ false; }}; sleep() {{ :; }}; prefer_working_iptables() {{ :; }}
        third() {{ echo >>looks; [ "$(wc -l <looks)" -ge 3 ]; }}
        launch_dockerd() {{ echo >>launched; }}
        engine_version() {{ [ -f launched ] || {{ [ {becomes} = answering ] && third; }}; }}
        dockerd_runs() {{ [ {becomes} = answering ] || ! third; }}
        start_engine
    """
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "starting or stopping" in done.stdout
    launched = tmp_path / "launched"
    assert (len(launched.read_text().splitlines()) if launched.exists() else 0) == begun


def test_a_second_run_finds_all_that_it_needs(setup: Setup, tmp_path: Path) -> None:
    if not (ROOT / ".venv/installed-from.txt").exists():
        pytest.skip("this environment is not the one that the set-up makes")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    first = setup("secrets")
    assert first.returncode == 0, first.stderr
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "secrets").iterdir()}
    docker = ENGINE.replace("esac", "info | ps | image) exit 0 ;; *) echo unexpected $* >&2; exit 1 ;; esac")
    again = setup(id=USER, docker=docker, python3="exit 9")
    assert again.returncode == 0, again.stdout + again.stderr
    *steps, last = again.stdout.strip().splitlines()
    assert all(line.endswith("(there already)") for line in steps), again.stdout
    assert {line.split(":")[0].strip() for line in steps} >= {"docker", "compose", "base image", ".venv", "secrets"}
    assert last == "Ready. Next: make stage1 up"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "secrets").iterdir()} == before


PULLS = ENGINE.replace("esac", "image) exit 1 ;; pull) exit {pulled} ;; tag) echo tagged $* >&2 ;; esac")


def test_the_base_image_is_pulled_where_it_can_be(setup: Setup) -> None:
    done = setup("base", docker=PULLS.format(pulled=0))
    assert done.returncode == 0, done.stderr
    assert "tagged tag debian:trixie-slim conduit/base:trixie" in done.stderr
    assert "base image: conduit/base:trixie, pulled (done)" in done.stdout


def test_without_a_registry_who_may_not_make_the_base_image_is_told_how(setup: Setup) -> None:
    done = setup("base", docker=PULLS.format(pulled=1), id=USER)
    assert done.returncode != 0
    assert "it cannot be pulled here" in done.stdout
    assert "    sudo bash infra/setup/setup.sh base\n" in done.stdout


def test_a_python_that_is_too_old_is_told_with_what_to_do(setup: Setup) -> None:
    old = "case $1 in --version) echo Python 3.10.12 ;; *) exit 1 ;; esac"
    done = setup("venv", **{"python3": old, "apt-get": "exit 0", "id": "echo 0"})
    assert done.returncode != 0
    assert "3.11 or newer is needed" in done.stdout + done.stderr
    assert "apt-get install -y python3.11 python3.11-venv" in done.stdout + done.stderr
