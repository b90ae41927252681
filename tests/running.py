"""Stages for tests: run from a copy of this repository under names, ports and volumes of their own, so that a stage
that somebody works with on this machine, and its data, are left alone.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from loadtests.ceiling import record

ROOT = Path(__file__).resolve().parents[1]
PORTS = {1: 18001, 2: 18002, 3: 18003, 4: 18004, 5: 18005}
MAIL_PORTS = {1: 18026, 2: 18027, 3: 18028, 4: 18029, 5: 18030}
NETWORKS = {3: "10.93.3", 4: "10.93.4", 5: "10.93.5"}
_UNLIMITED = {"LOGIN_LIMIT": "1000000/second", "WRITE_LIMIT": "1000000/second"}


@dataclass(frozen=True)
class Stage:
    """One stage of the copy in ``folder``."""

    number: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{PORTS[self.number]}"

    @property
    def mail_url(self) -> str:
        return f"http://127.0.0.1:{MAIL_PORTS[self.number]}"

    def make(self, *words: str) -> str:
        """Run make as typed; return what it printed."""
        return run(self.make_command(*words), self.folder)

    def make_command(self, *words: str) -> list[str]:
        """What ``make`` runs, for a test that does something while it runs or expects it to fail."""
        return ["make", f"PYTHON={sys.executable}", f"stage{self.number}", *words]

    def compose(self, *words: str) -> str:
        return run(["docker", "compose", "-f", f"docker-compose.stage{self.number}.yml", *words], self.folder)

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).strip()

    def host(self, service: str) -> str:
        """The name of a service's container, by which it is found on the stage's network too."""
        return f"conduit-test-stage{self.number}-{service}-1"

    @contextmanager
    def whole_cores(self) -> Iterator[None]:
        """For suites that are not about what a box can do: each may use a core meanwhile, as far as there are any."""
        boxes = self.compose("ps", "--quiet").split()
        shape = "{{.Id}} {{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}"
        shares = [line.split() for line in run(["docker", "inspect", "-f", shape, *boxes], self.folder).splitlines()]
        quotas = {box: (period, quota) for box, period, quota in shares if int(quota) > 0}
        for box, (period, _) in quotas.items():
            run(["docker", "update", "--cpu-quota", period, box], self.folder)
        try:
            yield
        finally:
            for box, (_, quota) in quotas.items():
                run(["docker", "update", "--cpu-quota", quota, box], self.folder)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=10)


class Stages:
    """The stages of one copy, of which one runs at a time: the machine that tests run on is small."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: int | None = None

    def bring_up(self, number: int) -> tuple[Stage, float]:
        """The stage, running, and the seconds that its start took: none when it ran already."""
        stage = Stage(number, self._folder)
        if self._running == number:
            return stage, 0.0
        self.stop()
        stage.compose("build")
        began = time.monotonic()
        said = stage.make("up")
        took = time.monotonic() - began
        assert stage.url in said
        self._running = number
        return stage, took

    def stop(self) -> None:
        """Take down what runs, and what an import may have started beside it. The data stay."""
        for number in PORTS:
            if Stage(number, self._folder).compose("ps", "--quiet").strip():
                Stage(number, self._folder).make("down")
        self._running = None

    def remove(self) -> None:
        """Leave nothing behind."""
        with ThreadPoolExecutor(len(PORTS)) as threads:  # most of it is waiting until boxes have ended
            list(threads.map(lambda number: Stage(number, self._folder).make("down", "VOLUMES=1"), PORTS))
        self._running = None


def copy_repository(copy: Path) -> None:
    """Put this repository's files, as they are, into a folder; its stages are called otherwise there."""
    if not (ROOT / "secrets" / "patroni.env").exists():
        pytest.fail("there is no secrets/patroni.env, which the boxes need: run `make setup`")
    for name in run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    shutil.copytree(ROOT / "secrets", copy / "secrets")
    # What is measured in the copy is of this commit: its stages have other names, and nothing else differs.
    (copy / record.COPIED).write_text(json.dumps(record.commit()))
    for number in PORTS:
        file = copy / f"docker-compose.stage{number}.yml"
        file.write_text(re.sub(r"^name: conduit-", "name: conduit-test-", file.read_text(), flags=re.MULTILINE))


def run(command: list[str], folder: Path) -> str:
    """What a command prints, in the environment of the tests; fails with what it said."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment() -> dict[str, str]:
    """The ports and networks of the tests, no limits in the app, and nothing of a make that runs the tests."""
    ports = {f"STAGE{number}_PORT": str(port) for number, port in PORTS.items()}
    ports |= {f"STAGE{number}_MAIL_PORT": str(port) for number, port in MAIL_PORTS.items()}
    ports |= {f"STAGE{number}_NETWORK": network for number, network in NETWORKS.items()}
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return env | ports | _UNLIMITED
