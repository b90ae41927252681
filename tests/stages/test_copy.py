"""The copy of this repository that tests of whole stages run: nothing of it is a stage that somebody works with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.ceiling import record
from tests.running import PORTS, copy_repository

MEASURED = """
from loadtests.ceiling import stage
stage.run = lambda *words: None
stage.Boxes = lambda project: project
stage.observer = lambda number, boxes: None
stage.generator = lambda number, boxes, size: None
print(*(stage.ready(number, "small").boxes for number in {numbers}))
"""


@pytest.mark.docker
@pytest.mark.usefixtures("boxes_secrets")
def test_a_ceiling_in_the_copy_measures_the_stages_of_the_copy(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(numbers=list(PORTS))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    names = [f"conduit-test-stage{number}" for number in PORTS]
    assert done.stdout.split() == names, done.stderr
    for number, name in zip(PORTS, names, strict=True):
        assert f"\nname: {name}\n" in (tmp_path / f"docker-compose.stage{number}.yml").read_text()


@pytest.mark.usefixtures("boxes_secrets")
def test_the_copy_says_of_which_commit_it_is(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    said = "import json; from loadtests.ceiling.record import commit; print(json.dumps(commit()))"
    done = subprocess.run([sys.executable, "-c", said], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == record.commit()
    assert record.commit()["id"] is not None
