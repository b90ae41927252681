"""The ceiling of real stages under real load: minutes each, so not among what CI runs."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.stage, pytest.mark.docker, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs"


def _new_run(before: set[Path]) -> tuple[Path, dict[str, Any]]:
    (folder,) = {path for path in RUNS.iterdir() if path.is_dir()} - before
    return folder, json.loads((folder / "run.json").read_text())


def _folders() -> set[Path]:
    RUNS.mkdir(exist_ok=True)
    return {path for path in RUNS.iterdir() if path.is_dir()}


@pytest.mark.parametrize("stage", [1, 2])
def test_a_quick_ceiling_is_found_within_four_minutes_and_reported_in_one_file(stage: int) -> None:
    subprocess.run(["make", f"stage{stage}", "up"], cwd=ROOT, check=True)
    subprocess.run(["make", f"stage{stage}", "seed", "REPLACE=1"], cwd=ROOT, check=True)
    before, began = _folders(), time.monotonic()
    done = subprocess.run(["make", f"stage{stage}", "ceiling", "QUICK=1"], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert time.monotonic() - began < 240
    folder, run = _new_run(before)
    assert run["complete"]
    assert run["mode"] == "quick"
    assert {box["name"] for box in run["boxes"]} == ({"box"} if stage == 1 else {"app", "db"})
    page = (folder / "report.html").read_text()
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)
    # Either a verdict, with what it needs to be believed, or the reason why this machine gave none.
    ceiling = run["ceiling"]
    if ceiling["rate"] is None:
        assert ceiling["no_verdict"]
    else:
        assert 0 < ceiling["p95"]["median"] <= run["slo"]["p95_ms"]
        assert all(box["per_request_ms"] > 0 for box in run["demand"]["boxes"])


def test_an_interrupted_ceiling_keeps_what_it_measured() -> None:
    before = _folders()
    with subprocess.Popen(["make", "stage1", "ceiling", "QUICK=1"], cwd=ROOT, start_new_session=True) as search:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any((path / "run.json").exists() for path in _folders() - before):
            time.sleep(1)
        time.sleep(10)
        subprocess.run(["kill", "-INT", f"-{search.pid}"], check=True)
        assert search.wait(timeout=60) not in (0, -signal.SIGKILL)
    folder, run = _new_run(before)
    assert not run["complete"]
    assert run["trials"]
    assert "ncomplete" in (folder / "report.html").read_text()


@pytest.mark.parametrize("mix", ["pages", "publish"])
def test_shares_of_the_cpu_are_found_and_kept(mix: str) -> None:
    before = _folders()
    done = subprocess.run(["make", "stage2", "shares", f"MIX={mix}", "QUICK=1"], cwd=ROOT, check=False)
    assert done.returncode == 0
    _, run = _new_run(before)
    assert run["complete"]
    assert run["kind"] == "shares"
    app = run["shares"]["app"]
    if mix == "pages":
        assert run["page_views"] > 0
        assert app["HTML and assets"]["mean"] > 0
        assert app["image"]["mean"] == 0
    else:
        assert app["mail"]["mean"] > 0
        assert app["image"]["mean"] > 0
        assert {row["among"] for row in run["journeys"]} == {"alone", "whole"}
