"""The exercises as they are written: their commands, typed in their order, show what is promised."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.running import ROOT, Stage, Stages, environment

pytestmark = [pytest.mark.stage(3), pytest.mark.docker, pytest.mark.long]

LIMIT, MINUTE = 10, 60
_BREAK, _COVER, _SIGN_IN, _GO_BACK = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/exercises.md").read_text(), re.DOTALL)


@pytest.fixture
def stage(stages: Stages) -> Iterator[Stage]:
    stage, _ = stages.bring_up(3)
    yield stage
    stage.make("up")  # with the tests' settings again


def _typed(stage: Stage, *blocks: str) -> str:
    """What the commands print, with the limits that a user has."""
    env = {name: value for name, value in environment().items() if not name.endswith("_LIMIT")}
    script = f'make() {{ command make PYTHON={sys.executable} "$@"; }}\n' + "\necho\n".join(blocks)
    command = ["bash", "-eu", "-c", script]
    done = subprocess.run(
        command, cwd=stage.folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class _SignIns(NamedTuple):
    """What thirty of them in a row were answered, and when, in seconds of the clock; somebody signed up before them."""

    statuses: list[str]
    signed_up: int
    began: int
    ended: int

    def allowed_in_memory(self, boxes: int) -> int:
        """How many may succeed where each of so many boxes counts by itself, by minutes of the clock."""
        return boxes * self._allowed(math.ceil(self.began / MINUTE) * MINUTE)

    def allowed_in_redis(self) -> int:
        """How many may succeed where a minute begins with its first attempt, which was signing up."""
        return self._allowed(self.signed_up + MINUTE)

    def _allowed(self, turned: int) -> int:
        """Ten in a minute. From when the next has begun, those count less by and by, and are rounded down."""
        later = math.floor(LIMIT * (self.ended - turned) / MINUTE) + 1 if turned < self.ended else 0
        return LIMIT + later


def _statuses(stage: Stage) -> tuple[list[str], _SignIns]:
    """Of twenty times the cover, and of thirty times signing in."""
    clock = "printf %s $(date +%s)"
    signed_up, covers, began, sign_ins, ended = _typed(stage, clock, _COVER, clock, _SIGN_IN, clock).split("\n")
    return covers.split(), _SignIns(sign_ins.split(), int(signed_up), int(began), int(ended) + 1)


def test_state_left_in_the_app_fails_with_a_second_box(stage: Stage) -> None:
    said = _typed(stage, _BREAK)
    assert '"media":"files under /data/media' in said
    assert '"limits":"in memory' in said
    covers, sign_ins = _statuses(stage)
    assert len(covers) == 20
    assert set(covers) == {"200", "404"}
    assert 5 <= covers.count("404") <= 15
    # One of those that the limit lets through was signing up.
    assert LIMIT < sign_ins.statuses.count("200") <= sign_ins.allowed_in_memory(2)
    assert set(sign_ins.statuses) == {"200", "429"}

    _typed(stage, _GO_BACK)
    covers, sign_ins = _statuses(stage)
    assert covers == ["200"] * 20
    assert sign_ins.statuses.count("200") <= sign_ins.allowed_in_redis()
    assert set(sign_ins.statuses) == {"200", "429"}
