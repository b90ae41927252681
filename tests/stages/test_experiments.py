"""What stages 3 and 4 promise, held against them by their own experiments, short and long; all in test-long."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.report import experiment
from tests.running import Stage, Stages, environment

pytestmark = [pytest.mark.stage, pytest.mark.docker]
# With a word of its own where this machine, and not the stage, was what failed.
NO_VERDICT = 3


@pytest.fixture(scope="module")
def seeded(stages: Stages) -> dict[int, Stage]:
    """The stages that hold the seed already."""
    return {}


def _stage(stages: Stages, seeded: dict[int, Stage], number: int) -> Stage:
    stage, _ = stages.bring_up(number)
    if number not in seeded:
        stage.make("seed", "REPLACE=1")
        seeded[number] = stage
    return stage


def _experiment(stage: Stage, what: str, *words: str) -> dict[str, Any]:
    """Do it; what it recorded. Fails where what the stage promises did not hold."""
    before = set(_folders(stage))
    command = [sys.executable, "-m", "infra.stage", "experiment", f"stage{stage.number}", "--what", what, *words]
    done = subprocess.run(
        command, cwd=stage.folder, env=environment(), capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode in (0, NO_VERDICT), done.stdout[-3000:] + done.stderr[-3000:]
    (folder,) = set(_folders(stage)) - before
    run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    assert run["complete"]
    assert experiment.WORDS[run["verdict"]["held"]] in (folder / "report.html").read_text()
    assert (done.returncode == NO_VERDICT) == (run["verdict"]["held"] is None)
    return run


def _held(stage: Stage, what: str, *words: str) -> dict[str, Any]:
    """The same; once more where this machine was too busy to tell, and then it has to be seen."""
    run = _experiment(stage, what, *words)
    if run["verdict"]["held"] is None:
        run = _experiment(stage, what, *words)
    assert run["verdict"]["held"], run["verdict"]["sentence"]
    return run


def _folders(stage: Stage) -> list[Path]:
    return [path for path in (stage.folder / "runs").glob("*") if path.is_dir()]


@pytest.mark.long
@pytest.mark.stage(3)
def test_a_cache_that_is_away_is_hardly_missed(stages: Stages, seeded: dict[int, Stage]) -> None:
    run = _held(_stage(stages, seeded, 3), "cache", "--quick")
    (trial,) = run["trials"]
    assert trial["events"]
    assert trial["result"]["total"]["offered"] > 100
    assert trial["hits_after"] is not None
    assert trial["counts"][1]["queries"] > trial["counts"][0]["queries"], "without a cache, more is asked"


@pytest.mark.long
@pytest.mark.stage(3)
def test_a_hot_key_that_is_gone_is_filled_once(stages: Stages, seeded: dict[int, Stage]) -> None:
    run = _held(_stage(stages, seeded, 3), "stampede", "--quick")
    fills = run["verdict"]["figures"]["fills"]
    # What single flight is held against; the whole verdict tells what was seen instead.
    assert all(times > 1 for times in fills["without"].values()), run["verdict"]
    assert all(burst["burst"]["most_in_flight"] > 400 for burst in run["bursts"])


@pytest.mark.long
@pytest.mark.stage(4)
def test_what_a_queue_accepts_is_done_whoever_dies(stages: Stages, seeded: dict[int, Stage]) -> None:
    run = _held(_stage(stages, seeded, 4), "queue", "--quick")
    assert run["verdict"]["figures"]["accepted"] > 0
    assert [event["what"] for event in run["trials"][0]["events"]].count("broker restarted") == 1


@pytest.mark.long
@pytest.mark.stage(4)
def test_publishing_is_timed_until_the_cover_is_there(stages: Stages, seeded: dict[int, Stage]) -> None:
    # Not held against stage 3, which takes minutes: that is for the long form.
    figures = _experiment(_stage(stages, seeded, 4), "publishing", "--quick")["verdict"]["figures"]
    assert figures["ready_p95"] > 0
    assert (figures["failed"], figures["undone"]) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "what"),
    [
        (3, "stampede"),
        (3, "kill"),
        (3, "restart"),
        (3, "cache"),
        (3, "publishing"),  # which the next stage's is held against
        (4, "queue"),
        (4, "publishing"),
    ],
)
def test_the_long_forms(stages: Stages, seeded: dict[int, Stage], number: int, what: str) -> None:
    run = _held(_stage(stages, seeded, number), what)
    assert run["mode"] == "full"
    if what == "kill":
        assert all(kill["back_after"] is not None for kill in run["trials"][0]["kills"])
