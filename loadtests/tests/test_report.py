"""The report of any run, complete or not, is one file that needs no network."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loadtests import report
from loadtests.ceiling import overload
from loadtests.ceiling.plan import QUICK
from loadtests.report.words import foretold, percent, remedy, sentence, warmed
from loadtests.tests.reports import Balanced, written
from loadtests.tests.runs import FIT, known, record


def test_a_complete_run(tmp_path: Path) -> None:
    run = record(capacity=300)
    text = written(tmp_path, run)
    assert sentence(run) in text
    assert "Stage 1 holds" in text
    assert "its only box saturates first" in text
    for said in ("graceful", "GET /api/articles/{slug}", "PostgreSQL", "A site that people read", "2 cores", "2.5"):
        assert said in text
    assert "generator" in text


def test_how_wide_a_ceiling_is_known_is_told_and_how_far_off_it_was_foretold(tmp_path: Path) -> None:
    run = record(capacity=300)
    run["ceiling"] |= {"rate": 100.0, "low": 92.0, "high": 110.0}
    run["prediction"] |= {"ceiling": 87.0, "below": 80.0}
    text = written(tmp_path, run)
    assert "Stage 1 holds 100 requests/s of browse within the SLO, with 95 % confidence between 92 and 110" in text
    assert "Its ceiling is known to ± 9 %." in text
    assert "From the trials up to 80/s, a queueing model expects 87/s; measured were 100/s: it is 13 % too low." in text
    assert "not decided" not in text
    for said in ("What was decided", "at rest", "r²", "of capacity", "The first 1 s of each load are left out"):
        assert said in text


def test_where_errors_decide_they_are_told_as_what_they_were(tmp_path: Path) -> None:
    """1 of 160 failed, which is as bad as 50 late ones."""
    run = record(capacity=300)
    one = {"rate": 20, "decision": "failed", "windows": 1, "seconds": 8, "arrivals": 160, "bad_share": 50 / 160}
    run["ceiling"]["decisions"] = [one | {"error_share": 1 / 160, "by_errors": True}]
    assert re.search(r"failed\s+1\s+8\s+160\s+0\.62 % failed", written(tmp_path, run))
    run["ceiling"]["decisions"] = [one | {"bad_share": 0.08, "error_share": 1 / 1600, "by_errors": False}]
    assert re.search(r"failed\s+1\s+8\s+160\s+8 %", written(tmp_path, run))


def test_without_a_prediction_none_is_told(tmp_path: Path) -> None:
    run = record(capacity=300)
    run["prediction"] = None
    run["demand"] |= {"if_doubled": {}, "if_split": None}
    assert "queueing model" not in written(tmp_path, run)
    assert foretold({"prediction": {"below": 80.0, "ceiling": 87.0}}) == (
        "From the trials up to 80/s, a queueing model expects 87/s."
    )
    assert foretold({"prediction": {"below": 1.4, "ceiling": 1e-12}, "ceiling": {"rate": 1.5}}) == (
        "From the trials up to 1.4/s, a queueing model expects no rate to hold the objective; measured were 1.5/s: "
        "it is 100 % too low."
    )


KEPT = [
    path.parent.name
    for path in sorted((Path(__file__).parents[2] / "docs/runs").glob("*/run.json"))
    if "ceiling" in json.loads(path.read_text())
]


@pytest.mark.parametrize("name", KEPT[:3] + KEPT[-3:])
def test_runs_that_were_kept_before_there_were_intervals_are_still_told(tmp_path: Path, name: str) -> None:
    run = json.loads((Path(__file__).parents[2] / "docs/runs" / name / "run.json").read_text())
    parser = Balanced()
    parser.feed(report.write(_kept(tmp_path, run)).read_text())
    assert parser.open == []
    assert sentence(run) in " ".join(parser.text)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = record(capacity=300)
    run["mix"]["model"] = "<script>alert(1)</script>"
    run["trials"][2]["limits"] = ["<img src=x>"]
    run["trials"][2]["valid"] = False
    run["boxes"][0]["name"] = "box"
    html = report.write(_kept(tmp_path, run)).read_text()
    assert "<script" not in html
    assert "<img" not in html


def _kept(folder: Path, run: dict[str, Any]) -> Path:
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_boxes_that_share_a_role_are_one_place_that_can_be_doubled(tmp_path: Path) -> None:
    run = record(capacity=300, stage=3)
    text = written(tmp_path, run)
    demand = run["demand"]
    assert demand["boxes"][0]["boxes"] == ["app1", "app2"]
    assert demand["if_split"] is None
    assert "the boxes “app” saturate first" in sentence(run)
    assert "cache hits, of its look-ups" in text
    assert "app ×2" in text
    assert text.count("MAX_WAIT") == 1, "settings that all boxes share are told once"


def test_what_works_in_the_background_is_told_as_that(tmp_path: Path) -> None:
    run = record(capacity=300, stage=3)
    assert "in the background" not in written(tmp_path / "none", run)
    run["boxes"][-1]["background"] = True
    text = written(tmp_path / "some", run)
    assert re.search(r"media\s+in the background", text)
    assert "No request waits for what works in the background, so that is no part of the model." in text
    assert "later and later" not in text
    run["demand"]["behind"] = ["media"]
    assert "The box “media” had no CPU left." in written(tmp_path / "behind", run)


def test_what_the_cache_gave_is_told_by_kind_with_its_age(tmp_path: Path) -> None:
    text = written(tmp_path / "3", record(capacity=300, stage=3))
    assert "What the cache gave" in text
    # Of 85 reads of articles and 35 of lists.
    assert re.search(r"article\s+85\s+95 %\s+0 %\s+4\.7 %\s+0 %\s+0 %", text)
    assert re.search(r"list\s+35\s+26 %\s+0 %\s+17 %\s+57 %\s+0 %", text)
    assert "“cache” had been filling for 5 min" in text
    assert "What the cache gave" not in written(tmp_path / "2", record(capacity=300, stage=2))
    older = record(capacity=300, stage=3)
    del older["cache"]
    assert "What the cache gave" not in written(tmp_path / "older", older)


def test_a_host_without_idle_cpu_is_told_with_what_to_do(tmp_path: Path) -> None:
    run = record(capacity=300, stage=3)
    assert remedy(run) == ""
    run["trials"][3] |= {"valid": False, "limits": ["host with 2% idle CPU"]}
    assert "make box CPU=0.125" in written(tmp_path, run)
    for box in run["boxes"]:
        box["cpus"] = 0.125
    assert "close other programs" in remedy(run)
    assert "make box" not in remedy(run)


@pytest.mark.parametrize("trials", [0, 1, 2, 4])
def test_an_interrupted_run_says_so_and_shows_what_it_has(tmp_path: Path, trials: int) -> None:
    run = record(capacity=300, stop_after=trials)
    text = written(tmp_path, run)
    assert text.count("Incomplete") + text.count("incomplete") >= 2
    assert "interrupted" in text


def test_no_verdict_is_the_headline(tmp_path: Path) -> None:
    run = record(capacity=300)
    run["ceiling"] |= {"rate": None, "no_verdict": "limited by what measures, not by the stage: generator at 90 %"}
    del run["overload"], run["demand"]
    assert "No verdict for Stage 1 on browse: limited by what measures" in written(tmp_path, run)


def test_an_overload_that_something_else_limited_is_no_verdict(tmp_path: Path) -> None:
    run = record(capacity=300)
    result = run["trials"][-1]["result"]
    result["stretches"][1] = {**FIT, "host_idle": 0.01, "errors": {}}
    run["overload"] = overload.judge(result, run["ceiling"]["rate"])
    text = written(tmp_path, run)
    assert "there is no verdict" in sentence(run)
    assert not re.search("graceful|cliff", sentence(run))
    assert "Beyond the ceiling: no verdict" in text


def test_shares_are_readable() -> None:
    assert [percent(share) for share in (0, 0.0004, 0.0123, 0.5, 1)] == ["0 %", "0.04 %", "1.2 %", "50 %", "100 %"]


def test_the_report_tells_the_machine_s_speed_and_what_throttled_is_of(tmp_path: Path) -> None:
    text = written(tmp_path, known(record(capacity=300), 300.0))
    assert "a hash of the canary took 300 ns (300 to 600 in single trials) at best, and usually 600 ns (" in text
    assert "at most 0.3 % of the CPU stolen" in text
    assert text.count("share of the time in which the box wanted to run") == 2
    assert "scheduling periods" not in text
    older = written(tmp_path / "older", record(capacity=300))
    assert older.count("share of scheduling periods") == 2
    assert "canary" not in older


def test_quick_is_called_quick(tmp_path: Path) -> None:
    assert QUICK.mode == "quick"
    assert "A quick search" in written(tmp_path, record(capacity=50))


def test_a_warming_says_with_how_much_cpu_and_older_records_do_not_know() -> None:
    what = {"sent": 12_345, "failed": 0, "whole": False, "seconds": 24.6}
    assert warmed(what | {"cpus": 2}).startswith(
        "The cache was warmed by 12,345 reads in 25 s, with 2 CPU for each box meanwhile: the most popular"
    )
    assert "in 25 s: the most popular" in warmed(what)
