"""`make stageN check` at the first stage and at the last: whatever fails, what was acknowledged is there, and once."""

import json
import subprocess

import pytest

from tests.running import Stages, environment

pytestmark = [pytest.mark.long, pytest.mark.docker]


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.stage(n)) for n in (1, 5)])
def test_nothing_acknowledged_is_lost_whatever_fails(stages: Stages, number: int) -> None:
    stage, _ = stages.bring_up(number)
    command = stage.make_command("check", "QUICK=1")
    done = subprocess.run(
        command, cwd=stage.folder, env=environment(), capture_output=True, text=True, timeout=1_100, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Held: nothing acknowledged is lost" in done.stdout
    data = stage.folder / done.stdout.rsplit("Raw data: ", 1)[1].strip()
    trials = json.loads(data.read_text())["trials"]
    assert len(trials) == {1: 3, 5: 14}[number]
    kinds = {"article", "comment", "favourite", "cover", "report", "name"} | ({"mail"} if number == 5 else set())
    for trial in trials:
        assert trial["counts"].keys() == kinds, trial["fault"]
        assert all(one["acknowledged"] for one in trial["counts"].values()), trial["fault"]
        reads = trial["reads"]
        assert reads.keys() == {
            *("own profile", "own user", "own list", "own list, not cached"),
            *("others' profiles", "newest articles", "newest, not cached", "feed"),
        }
        assert all(one["reads"] for one in reads.values()), trial["fault"]
