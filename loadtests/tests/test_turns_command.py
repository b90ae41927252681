"""Stages measured in turn by the command: the order, what it says, and what is kept where a search gives nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.stage import __main__ as commands
from infra.stage import engine, stages
from loadtests.ceiling import cli as ceiling
from loadtests.ceiling.stage import StageCommandError
from loadtests.process import ProcessError
from loadtests.tests.in_turn import left_by
from loadtests.tests.reports import checked
from loadtests.turns import cli


class _Searches:
    """In the place of what brings stages up and searches: leaves a record, and a code for those in ``codes``."""

    def __init__(self, runs: Path) -> None:
        self.done: list[str] = []
        self.codes: dict[int, int] = {}
        self.more: dict[int, dict[str, Any]] = {}
        self.ups_fail = False
        self.held: dict[int, dict[str, Any]] = {}
        self._runs = runs
        self._number = 0

    def up(self, verb: str, stage: int, *options: str) -> None:
        self.done.append(f"{verb} {stage} {' '.join(options)}")
        if self.ups_fail:
            raise StageCommandError(verb)

    def dataset(self, stage: int, size: str) -> dict[str, Any]:
        """What a stage holds, seeded with ``size`` where it is empty."""
        self.done.append(f"reads {stage}, {size}")
        return self.held.get(stage, {"dataset": {"users": 1000, "articles": 10_000}, "seeded": None})

    def search(self, stage: int, mix: str, quick: bool) -> int:
        self._number += 1
        self.done.append(f"{stage} {mix} {'quick' if quick else 'full'}")
        code = self.codes.get(self._number, 0)
        if code == 1:
            return code
        folder = self._runs / f"2026010{self._number}T000000Z-stage{stage}-{mix}"
        folder.mkdir()
        left = left_by(stage, 50.0 * stage, **self.more.get(self._number, {}))
        if code:
            left["ceiling"] = {"rate": None, "no_verdict": "host with 1% idle CPU"}
        (folder / "run.json").write_text(json.dumps(left))
        return code


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Searches:
    made = _Searches(tmp_path)
    monkeypatch.setattr(cli, "run", made.up)
    monkeypatch.setattr(cli, "dataset", made.dataset)
    monkeypatch.setattr(ceiling, "main", made.search)
    monkeypatch.setattr(cli, "RUNS", tmp_path)
    monkeypatch.setattr(cli, "interruptible", lambda: None)
    return made


def _kept(runs: Path) -> dict[str, Any]:
    """The record of the searches in turn."""
    (path,) = runs.glob("*-turns-*/run.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_all_are_up_before_they_are_measured_there_and_back(
    searches: _Searches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([1, 2, 3], "pages", quick=True) == 0
    first = [f"up {stage} --same-apps" for stage in (1, 2, 3)] + [f"reads {stage}, small" for stage in (1, 2, 3)]
    assert searches.done == [*first, *(f"{stage} pages quick" for stage in (1, 2, 3, 3, 2, 1))]
    said = capsys.readouterr()
    assert "6 searches in turn (1 2 3 3 2 1) of some 4 minutes each, so 24 minutes in all." in said.err
    assert "Search 5 of 6: stage 2" in said.err
    assert "On pages, stage 2 holds 2.00 times what stage 1 does" in " ".join(said.out.split())
    kept = _kept(tmp_path)
    assert kept["kind"] == "turns"
    assert kept["stages"] == [1, 2, 3]
    assert kept["mode"] == "quick"
    assert [one["run"] for one in kept["turns"]] == [
        f"2026010{at}T000000Z-stage{stage}-pages" for at, stage in enumerate((1, 2, 3, 3, 2, 1), 1)
    ]
    assert [step["ratio"]["middle"] for step in kept["steps"]] == pytest.approx([2, 1.5])
    assert kept["complete"]
    assert kept["why_incomplete"] is None
    assert kept["cpus"] == [0.125]


def test_each_step_is_a_line_on_a_terminal_of_eighty_columns(
    searches: _Searches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With as wide figures as there are: hits at both ends, and goodputs of more than the ceiling's."""
    monkeypatch.setenv("COLUMNS", "80")
    searches.more = {at: {"kept": 1.5, "a_request": {"queries": 1.0, "hit_ratio": 0.75}} for at in range(1, 7)}
    assert cli.main([1, 2, 3]) == 0
    goodput = "112 %, 112 % → 112 %, 112 %"
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for step, found in (("1 → 2", "2.00 (2.00 to 2.00)"), ("2 → 3", "1.50 (1.50 to 1.50)")):
        assert f"{step} {found} 0 % 75 % → 75 % {goodput}".split() in lines


def test_without_quick_it_says_how_to_be_sooner(searches: _Searches, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([1, 2])
    assert "4 searches in turn (1 2 2 1) of some 14 minutes each, so 56 minutes in all; QUICK=1" in (
        capsys.readouterr().err
    )
    assert searches.done[4] == "1 browse full"


def test_after_a_search_without_a_verdict_the_others_go_on(
    searches: _Searches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches.codes = {6: 3}
    assert cli.main([1, 2, 3]) == 3
    kept = _kept(tmp_path)
    assert len(kept["turns"]) == 6
    assert kept["turns"][5]["why_none"] == "host with 1% idle CPU"
    assert kept["complete"], "it ended by itself, as a search without a verdict does"
    assert [step["ratio"] is not None for step in kept["steps"]] == [False, True]
    said = capsys.readouterr()
    assert "Search 6 of 6 has no verdict, so no step from or to stage 1 gets a ratio" in said.err
    assert "On browse, stage 3 holds 1.50 times what stage 2 does" in " ".join(said.out.split())


def test_what_was_interrupted_is_kept_with_what_was_whole_by_then(
    searches: _Searches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches.codes = {6: 130}
    assert cli.main([1, 2, 3]) == 130
    kept = _kept(tmp_path)
    assert not kept["complete"]
    assert kept["why_incomplete"] == "interrupted"
    assert kept["turns"][5]["ceiling"] is None
    assert [step["ratio"] is not None for step in kept["steps"]] == [False, True]
    said = capsys.readouterr()
    assert "Ended early: interrupted. Kept: 5 of 6 ceilings" in said.err
    assert "run.json, which names the searches' own" in said.out


def test_an_interruption_between_two_searches_is_one(
    searches: _Searches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(stage: int, mix: str, quick: bool) -> int:
        if stage == 2:
            raise KeyboardInterrupt
        return searches.search(stage, mix, quick)

    monkeypatch.setattr(ceiling, "main", search)
    assert cli.main([1, 2]) == 130
    assert len(_kept(tmp_path)["turns"]) == 1


def test_interrupted_before_there_is_a_ceiling_there_is_no_report(
    searches: _Searches, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches.codes = {1: 130}
    assert cli.main([1, 2]) == 130
    assert not _kept(tmp_path)["complete"]
    assert "Report" not in capsys.readouterr().out


def test_a_search_that_fails_ends_it(searches: _Searches, tmp_path: Path) -> None:
    searches.codes = {3: 1}
    assert cli.main([1, 2]) == 1
    kept = _kept(tmp_path)
    assert kept["why_incomplete"] == "stage 2: its search failed"
    assert len(kept["turns"]) == 3
    assert not kept["complete"]


def test_a_stage_that_does_not_start_leaves_nothing(searches: _Searches, tmp_path: Path) -> None:
    searches.ups_fail = True
    assert cli.main([1, 2]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("third", "alike"),
    [
        ({"users": 1006, "articles": 13_772}, False),
        ({"users": 1000, "articles": 12_000}, False),
        ({"users": 1000, "articles": 11_000}, True),
    ],
)
def test_other_data_at_a_stage_is_told_before_anything_is_measured(
    searches: _Searches, tmp_path: Path, capsys: pytest.CaptureFixture[str], third: dict[str, int], alike: bool
) -> None:
    searches.held = {3: {"dataset": third, "seeded": None}}
    assert (cli.main([1, 2, 3]) == 0) is alike
    if not alike:
        assert list(tmp_path.iterdir()) == []
        said = capsys.readouterr().err
        held = f"{third['users']} users, {third['articles']} articles"
        assert f"Stages 1 and 3 hold datasets of 1000 users, 10000 articles and of {held}" in said
        assert "make stageN seed SIZE=medium REPLACE=1" in said


def test_a_stage_whose_data_cannot_be_read_is_told_before_anything_is_measured(
    searches: _Searches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(*_: object) -> dict[str, Any]:
        raise ProcessError("the generator ended early")

    monkeypatch.setattr(cli, "dataset", unreadable)
    assert cli.main([1, 2]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "the generator ended early" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "pairs"), [(2, [False, False]), (5, [False, False]), (6, [False, True])])
def test_stages_that_cannot_be_compared_end_it_without_their_ratio(
    searches: _Searches, tmp_path: Path, number: int, pairs: list[bool]
) -> None:
    searches.more = {number: {"dataset": {"users": 7, "articles": 10_000}}}
    assert cli.main([1, 2, 3]) == 1
    kept = _kept(tmp_path)
    assert "datasets of " in kept["why_incomplete"]
    assert len(kept["turns"]) == number
    assert [step["ratio"] is not None for step in kept["steps"]] == pairs


def test_a_stage_s_own_dataset_may_grow_between_its_searches(searches: _Searches) -> None:
    """As with publish. What each is set against is the one of the other stage that was measured next to it."""
    searches.more = {at: {"dataset": {"users": 1000, "articles": 14_000}} for at in (3, 4)}
    assert cli.main([1, 2]) == 0


def test_a_record_of_before_is_not_taken_for_a_search_s(
    searches: _Searches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "20250101T000000Z-stage1-browse"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(left_by(1, 50) | {"started": "2025-01-01T00:00:00Z"}))
    monkeypatch.setattr(ceiling, "main", lambda *_: 0)
    assert cli.main([1, 2]) == 1
    assert _kept(tmp_path)["why_incomplete"] == "stage 1: its search left no record"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["transitions", "--only", "9 3"], "There is no '9'"),
        (["transitions", "--only", "3 6"], "planned, but not there yet"),
        (["transitions", "--only", "3"], "Stage 3 alone makes no step"),
        (["transitions", "--only", "3 stage3"], "Stage 3 is named twice"),
        (["transitions", "--mix", "foo"], "Possible: browse, read-mostly"),
        (["transitions", "--mix", "spike"], "MIX=spike changes its rate, so it has no ceiling"),
        (["compare", "--measure", "--a", "stage2", "--b", "stage2"], "Stage 2 is named twice"),
        (["compare", "--measure", "--a", "runs/x", "--b", "stage2"], "There is no 'runs/x'"),
        (["compare", "--measure", "--a", "stage1", "--b", "stage2", "--mix", "spike"], "has no ceiling"),
    ],
)
def test_what_cannot_be_measured_in_turn_is_told_before_anything_is_done(
    typed: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never() -> None:
        raise AssertionError("Docker was asked")

    monkeypatch.setattr(engine, "usable", never)
    assert commands.main(typed) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "measured"),
    [
        (["transitions"], [*stages.available()]),
        (["transitions", "--only", "stage4 2 3"], [2, 3, 4]),
        (["compare", "--measure", "--a", "stage3", "--b", "stage1"], [3, 1]),
    ],
)
def test_all_stages_are_measured_or_those_that_are_named(
    typed: list[str], measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measure(*given: Any) -> int:
        asked.append(given)
        return 3

    monkeypatch.setattr(engine, "usable", lambda: None)
    monkeypatch.setattr(cli, "main", measure)
    assert commands.main([*typed, "--mix", "pages", "--quick"]) == 3
    assert asked == [(measured, "pages", True)]


def test_what_is_kept_is_enough_for_the_report(searches: _Searches, tmp_path: Path) -> None:
    """The record that the command leaves, not one that is made up."""
    assert cli.main([1, 2, 3]) == 0
    (path,) = tmp_path.glob("*-turns-*/report.html")
    assert "stage 3 holds 1.50 times what stage 2 does" in checked(path.read_text())
