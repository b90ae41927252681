"""Stages measured in turn, as the docs' tables and the report tell them."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests import report
from loadtests.report import cited
from loadtests.report import turns as told
from loadtests.tests.in_turn import THERE_AND_BACK, left_by, turns_of
from loadtests.tests.reports import checked
from loadtests.turns.figures import steps, turn


def _record(**more: Any) -> dict[str, Any]:
    """As ``make transitions STAGES="1 2 3"`` leaves it."""
    turns = turns_of(*THERE_AND_BACK)
    return {
        "kind": "turns",
        "stages": [1, 2, 3],
        "mix": {"name": "browse", "model": "Readers."},
        "mode": "full",
        "machine": {"cores": 2, "memory": 8 << 30, "processor": "A CPU"},
        "dataset": {"users": 10_000, "articles": 100_000},
        "cpus": [0.125],
        "commit": {"id": "0123456789abcdef", "changed": False},
        "started": "2026-01-01T00:00:00Z",
        "ended": "2026-01-01T02:00:00Z",
        "complete": True,
        "why_incomplete": None,
        "turns": turns,
        "steps": steps((1, 2, 3), turns),
    } | more


def _without(verdict: int) -> dict[str, Any]:
    """With a search that has no verdict, by its place."""
    turns = turns_of(*THERE_AND_BACK)
    turns[verdict] = turn(turns[verdict]["stage"], {}, "3-stage3-browse", "host with 1% idle CPU")
    return _record(turns=turns, steps=steps((1, 2, 3), turns))


def _cited(root: Path, monkeypatch: pytest.MonkeyPatch, **runs: dict[str, Any]) -> list[str]:
    """The lines of a page's table of these."""
    for name, run in runs.items():
        folder = root / "docs" / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run))
    page = root / "docs" / "stage3.md"
    page.write_text(f"<!-- transitions: {' '.join(runs)} -->\n<!-- end -->\n")
    monkeypatch.setattr(cited, "ROOT", root)
    return cited.filled(page).splitlines()


def test_the_docs_cite_what_each_step_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries from 1 to 2: (3 + 1) / 2 to (1 + 1) / 2, half of them."""
    pages = _record(mix={"name": "pages", "model": ""}, mode="quick")
    lines = _cited(tmp_path, monkeypatch, browse=_record(), pages=pages)
    link = "[full, 10,000 users, boxes of 0.125 CPU, 2026-01-01](../docs/runs/browse/report.html)"
    assert lines[1] == (
        "| step, mix | ceilings, requests/s | ratio | queries a request | cache hits | goodput at 2× | goodput at 3× "
        "| run |"
    )
    assert lines[3] == (
        "| 1 → 2, browse | 40, 50 → 80, 225 | **3.00** (1.36 to 6.64) | −50 % | – | 10 %, 50 % → 40 %, 50 % "
        f"| 7.5 %, 38 % → 30 %, 38 % | {link} |"
    )
    assert lines[4].startswith("| 2 → 3, browse | 80, 225 → 160, 900 | **2.83** (")
    assert [line.split(" | ")[0] for line in lines[5:7]] == ["| 1 → 2, pages", "| 2 → 3, pages"]
    assert lines[7] == "<!-- end -->"


def test_a_step_without_a_ratio_is_cited_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _cited(tmp_path, monkeypatch, browse=_without(2))
    assert lines[3].startswith("| 1 → 2, browse | 40, 50 → 80, 225 | **3.00** (")
    assert lines[4].startswith("| 2 → 3, browse | 80, 225 → –, 900 | – | – | – | 40 %, 50 % → –, 50 % | ")


@pytest.mark.parametrize("other", [{"dataset": {"users": 1000, "articles": 1}}, {"cpus": [0.25]}])
def test_what_is_unlike_does_not_stand_in_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    with pytest.raises(cited.UnlikeError, match="one and two stand in one table"):
        _cited(tmp_path, monkeypatch, one=_record(), two=_record(**other))


def _written(folder: Path, run: dict[str, Any]) -> str:
    """The text of its report."""
    (folder / "run.json").write_text(json.dumps(run))
    return checked(report.write(folder).read_text())


def test_the_report_tells_each_step_and_each_search(tmp_path: Path) -> None:
    text = _written(tmp_path, _record())
    assert "On browse, stage 2 holds 3.00 times what stage 1 does, stage 3 holds 2.83 times what stage 2 does." in text
    assert "3.00 (1.36 to 6.64)" in text
    assert "database queries a request" in text
    assert "search 6, stage 1: 50/s" in text
    assert "4-stage3-browse" in text
    assert "of 0.125 CPU" in text
    assert "incomplete" not in text


def test_the_report_tells_what_is_missing(tmp_path: Path) -> None:
    run = _without(2) | {"complete": False, "why_incomplete": "interrupted"}
    text = _written(tmp_path, run)
    assert "This is incomplete: interrupted." in text
    assert "A step has a ratio where both searches" in text
    assert "host with 1% idle CPU" in text
    assert "search 3, stage 3" not in text


def test_more_and_less_are_told_with_their_sign() -> None:
    counts = [{"origin_requests": count} for count in (1.0, 1.3, 1.3, 1.0)]
    runs = [left_by(stage, 10, a_request=count) for stage, count in zip((3, 4, 4, 3), counts, strict=True)]
    (row,) = told.counted({"steps": steps((3, 4), turns_of(*runs))})
    assert row == told.Counted("3 → 4", "requests at the origin a request", "1.00", "1.30", "+30 %")
