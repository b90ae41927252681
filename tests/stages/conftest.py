"""What the tests of stages share: each stage as users run it, and a `docker` that answers what a test needs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import PORTS, Stage, Stages
from tests.stages.balanced import Balanced, balanced
from tests.stages.checked import Check

ROOT = Path(__file__).resolve().parents[2]

STARTS_WITHIN_SECONDS = 60

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=sorted(PORTS), ids=lambda number: f"stage{number}")
def stage(request: pytest.FixtureRequest, stages: Stages) -> Stage:
    """A stage that was brought up from nothing. Its data outlives it, for the next stage to import."""
    stage, seconds = stages.bring_up(request.param)
    assert seconds < STARTS_WITHIN_SECONDS
    return stage


@pytest.fixture(scope="module")
def lb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    with balanced(tmp_path_factory.mktemp("lb")) as found:
        yield found


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


@pytest.fixture
def docker_says(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Makes a `docker` out of the cases of a shell script; returns the environment in which it is the only one."""

    def make(cases: str) -> dict[str, str]:
        fake = tmp_path / "bin" / "docker"
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\n*) exit 0 ;;\nesac\n')
        fake.chmod(0o755)
        return {**os.environ, "PATH": str(fake.parent)}

    return make


@pytest.fixture
def stage_command() -> Run:
    """Runs `python -m infra.stage WORDS` in an environment."""

    def run(*words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "infra.stage", *words]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False)

    return run


@pytest.fixture
def make() -> Run:
    """Runs make as typed, in the repository or in another folder."""

    def run(*words: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        # What a surrounding make handed down (its job slots, its goals' variables) is not what a user types.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        command = ["make", *words]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=30, check=False)

    return run
