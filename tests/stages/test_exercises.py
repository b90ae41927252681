"""The exercises as they are written: their commands, typed in their order, show what is promised."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.running import ROOT, Stage, Stages, environment

pytestmark = [pytest.mark.docker, pytest.mark.long]

# Until the minute of signing up is over, and another of the clock has begun. The limits' windows begin with either, and
# where one turns, a sliding window lets one more through.
_NEXT_MINUTE = "sleep $((61 + 60 - ($(date +%s) + 61) % 60))"


def _blocks() -> dict[str, list[str]]:
    """The commands of each exercise, by its title."""
    sections = re.split(r"^## (.*)$", (ROOT / "docs/exercises.md").read_text(), flags=re.MULTILINE)[1:]
    return {
        title: re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


_BLOCKS = _blocks()
_BREAK, _COVER, _SIGN_IN, _GO_BACK = _BLOCKS["State left in the app (stage 3)"]


@pytest.fixture
def stage(request: pytest.FixtureRequest, stages: Stages) -> Iterator[Stage]:
    (number,) = request.node.get_closest_marker("stage").args
    stage, _ = stages.bring_up(number)
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


def _statuses(stage: Stage) -> tuple[list[str], list[str]]:
    """Of twenty times the cover, and of thirty times signing in."""
    covers, _, sign_ins = _typed(stage, _COVER, _NEXT_MINUTE, _SIGN_IN).split("\n")
    return covers.split(), sign_ins.split()


@pytest.mark.stage(3)
def test_state_left_in_the_app_fails_with_a_second_box(stage: Stage) -> None:
    said = _typed(stage, _BREAK)
    assert '"media":"files of this app\'s own' in said
    assert '"limits":"in memory' in said
    covers, sign_ins = _statuses(stage)
    assert len(covers) == 20
    assert set(covers) == {"200", "404"}
    assert 5 <= covers.count("404") <= 15
    # One of those that the limit lets through was signing up.
    assert 10 < sign_ins.count("200") <= 20
    assert set(sign_ins) == {"200", "429"}

    _typed(stage, _GO_BACK)
    covers, sign_ins = _statuses(stage)
    assert covers == ["200"] * 20
    assert sign_ins.count("200") <= 10
    assert set(sign_ins) == {"200", "429"}


@pytest.mark.stage(5)
def test_behind_the_primary_the_author_sees_what_a_stranger_does_not(stage: Stage) -> None:
    said = _typed(stage, *_BLOCKS["Behind the primary (stage 5)"])
    assert re.findall(r"^(.*) sees it: (\d)$", said, re.MULTILINE) == [
        *(("the author", "1"), ("a stranger", "0")),
        ("a stranger", "1"),
    ]
    assert "the replica lacks what the reader must see" in said


@pytest.mark.stage(5)
def test_the_killed_primary_comes_back_as_the_replica(stage: Stage) -> None:
    said = _typed(stage, *_BLOCKS["Kill the primary (stage 5)"])
    assert re.search(r"^shard1: \w+ takes writes, \d+\.\d s later$", said, re.MULTILINE), said
    assert re.search(r"^  shard1[ab]: primary, running, timeline ([2-9]|\d\d)", said, re.MULTILINE), said
    assert re.search(r"^  shard1[ab]: replica, streaming", said, re.MULTILINE), said
