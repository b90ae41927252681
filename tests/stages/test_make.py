"""What is typed works as typed, and what cannot work says what can."""

import re
import shutil
from pathlib import Path

import pytest

from tests.stages.conftest import ROOT, Run

pytestmark = pytest.mark.slow

VERBS = ("up", "down", "status", "logs", "seed", "load", "ceiling", "shares", "experiment", "import", "diff")


def test_help_lists_every_target_that_has_a_comment(make: Run) -> None:
    shown = make().stdout
    documented = re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    without_a_stage = {"setup", "doctor", "test", "test-unit", "test-long", "bench", "compare", "transitions"}
    assert without_a_stage | {*VERBS} <= dict(documented).keys()
    for target, comment in documented:
        assert re.search(rf"^  {target} +{re.escape(comment)}$", shown, flags=re.MULTILINE)


@pytest.mark.usefixtures("boxes_secrets")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stage9", "up"], "There is no 'stage9'"),
        (["up", "stage9"], "There is no 'stage9'"),
        (["-j4", "stage9", "up"], "There is no 'stage9'"),
        (["stagex", "up"], "There is no 'stagex'"),
        (["stage6", "up"], "planned, but not there yet"),
        (["stage1", "fly"], "There is no 'fly'"),
        (["stage1", "-j", "fly"], "There is no 'fly'"),
        (["fly"], "There is no 'fly'"),
        (["up"], "Which stage? up needs one, as in: make stage1 up"),
        (["stage1", "stage2", "up"], "One stage at a time: make stage1 up; make stage2 up"),
        (["stage1"], "make stage1 ceiling"),
        (["stage1", "seed", "SIZE=huge"], "Possible: small, medium, large"),
        (["stage1", "load", "MIX=foo"], "Possible: browse, read-mostly, pages, publish, feed, login, spike"),
        (["stage1", "ceiling", "MIX=foo"], "Possible: browse, read-mostly, pages, publish, feed, login, spike"),
        (["stage2", "shares", "MIX=browse"], "Possible: pages, publish"),
        (["stage2", "shares", "RATE=fast"], "RATE=fast is not a rate"),
        (["stage2", "shares", "RATE=-1"], "RATE=40"),
        (["stage3", "experiment"], "Possible: stampede, kill, restart, cache, queue, publishing"),
        (["stage3", "experiment", "WHAT=fire"], "There is no WHAT=fire"),
        (["stage3", "experiment", "WHAT=kill", "RATE=0"], "RATE=0 is not a rate"),
        (["stage2", "import"], "make stage2 import FROM=stage1"),
        (["stage2", "import", "FROM=stage9"], "There is no 'stage9'"),
        (["stage1", "import", "FROM=stage1"], "Name another stage"),
        (["stage3", "up", "APPS=1"], "stage 3 can have 2 to 19 app boxes"),
        (["stage3", "up", "APPS=many"], "APPS=many"),
        (["stage3", "up", "APPS=0"], "As many as its file has, 2: make stage3 up"),
        (["stage2", "up", "APPS=2"], "Stage 2 has no balancer, so it has one app"),
        (["stage2", "nginx"], "make stage3 nginx"),
        (["stage2", "rolling-restart"], "make stage3 rolling-restart"),
        (["stage2", "queue"], "make stage4 queue"),
        (["stage4", "failover", "SHARD=shard1"], "Stage 4 has no replica that could take over"),
        (["stage5", "failover"], "Which shard?"),
        (["stage5", "switchover", "SHARD=shard9"], "Possible: shard1, shard2"),
        (["compare"], "make compare A=stage1 B=stage2"),
        (["transitions", "STAGES=3"], "Stage 3 alone makes no step"),
        (["transitions", "STAGES=3 9"], "There is no '9'"),
        (["stage3", "transitions"], "Stage 3 alone makes no step"),
        (["transitions", "MIX=spike"], "MIX=spike changes its rate, so it has no ceiling"),
        (["box", "CPU=x"], "CPU=x is no number"),
        (["box", "CPU=0.04"], "0.04 CPU in periods of 20 ms cannot be a box"),
        (["box", "CORES=all"], "BOX_CORES=all is no number of cores"),
    ],
)
def test_what_cannot_work_says_what_can(make: Run, words: list[str], says: str) -> None:
    tried = make(*words)
    assert tried.returncode != 0
    assert says in tried.stderr
    assert "Traceback" not in tried.stderr


@pytest.mark.parametrize("jobs", [[], ["-j"], ["-j8"]])
def test_words_are_done_in_their_order(make: Run, jobs: list[str]) -> None:
    lines = make("-n", *jobs, "setup", "stage1", "up").stdout.splitlines()
    steps = [line for line in lines if "infra/setup/setup.sh" in line or "infra.stage up" in line]
    assert steps == ["bash infra/setup/setup.sh", ".venv/bin/python -m infra.stage up stage1"]


def test_the_stages_that_are_measured_in_turn_are_nobody_else_s(make: Run) -> None:
    lines = make("-n", "stage1", "up", "transitions", "STAGES=3 4").stdout.splitlines()
    steps = [line.split(" -m infra.stage ")[1].split() for line in lines if " -m infra.stage " in line]
    assert steps == [["up", "stage1"], ["transitions", "--only", "'3", "4'"]]


def test_without_an_environment_every_verb_names_the_setup(make: Run, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for verb in ("up", "doctor", "test", "bench"):
        tried = make("stage1", verb, folder=tmp_path)
        assert tried.returncode != 0
        assert "Run: make setup" in tried.stderr


def test_ci_runs_what_is_typed() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == "make setup test"


def test_diff_shows_the_step(make: Run) -> None:
    assert "first" in make("stage1", "diff").stdout
    shown = make("stage2", "diff").stdout
    assert "+      DATABASE_URL: postgresql://conduit@db:5432/conduit" in shown
