"""Stages measured in turn: the order, each step's ratio and interval, and what is kept where a search gives nothing."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from infra.stage import __main__ as commands
from infra.stage import engine, stages
from loadtests import report
from loadtests.ceiling import cli as ceiling
from loadtests.ceiling.record import now
from loadtests.ceiling.stage import StageCommandError
from loadtests.process import ProcessError
from loadtests.report import cited, words
from loadtests.report import turns as told
from loadtests.tests.runs import record
from loadtests.tests.test_report import checked
from loadtests.turns import cli
from loadtests.turns.figures import order, ratio, steps, turn


def _ceiling(rate: float, off: float = 1.0) -> dict[str, float]:
    """With an interval from ``rate / off`` to ``rate * off``."""
    return {"rate": rate, "low": rate / off, "high": rate * off}


def test_the_ratio_is_the_geometric_mean_of_the_pairs() -> None:
    """40 to 80 and 50 to 225: 2 and 4.5, of which the mean is 3."""
    found = ratio([_ceiling(40), _ceiling(50)], [_ceiling(80), _ceiling(225)])
    assert found.middle == pytest.approx(3)
    assert found.pairs == (2, 4.5)


def test_pairs_that_differ_make_it_wide_although_each_ceiling_is_sure() -> None:
    """Half of log(4.5/2) is the mean's standard error: 0.405, times 1.96."""
    found = ratio([_ceiling(40), _ceiling(50)], [_ceiling(80), _ceiling(225)])
    assert found.low == pytest.approx(3 * math.exp(-1.96 * 0.4055), rel=1e-3)
    assert found.high == pytest.approx(3 * math.exp(1.96 * 0.4055), rel=1e-3)


def test_ceilings_that_are_unsure_make_it_wide_although_the_pairs_agree() -> None:
    """Four intervals of a factor 1.1 either way: their logs add as squares do, 2 x 0.0953, and half of that counts."""
    found = ratio([_ceiling(40, 1.1), _ceiling(50, 1.1)], [_ceiling(80, 1.1), _ceiling(100, 1.1)])
    assert found.high == pytest.approx(2 * 1.1)
    assert found.low == pytest.approx(2 / 1.1)


@pytest.mark.parametrize("several", [(2, 3), (1, 2, 3, 4), (1, 3, 4)])
def test_any_two_neighbours_are_measured_a_b_b_a(several: tuple[int, ...]) -> None:
    for a, b in itertools.pairwise(several):
        assert [one for one in order(several) if one in (a, b)] == [a, b, b, a]


def _run(stage: int, rate: float, queries: float = 1.0, kept: float = 0.5, **more: Any) -> dict[str, Any]:
    """What a search leaves, as far as it is read: at 3x the load a quarter less is kept than at 2x."""
    return {
        "stage": stage,
        "started": now(),
        "why_incomplete": None,
        "machine": {"cores": 2, "memory": 8 << 30, "processor": "A CPU"},
        "mix": {"name": "browse"},
        "slo": {"p95_ms": 500.0},
        "boxes": [{"cpus": 0.125, "memory": 256 << 20, "period_us": 10_000}],
        "dataset": {"users": 1000, "articles": 10_000},
        "trials": [],
        "ceiling": {**_ceiling(rate), "no_verdict": None},
        "a_request": {"queries": queries},
        "overload": {
            "over": [{"times": 2.0, "share": kept, "limits": []}, {"times": 3.0, "share": kept * 0.75, "limits": []}]
        },
    } | more


def _turns(*runs: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn(run["stage"], run, f"{at}-stage{run['stage']}-browse") for at, run in enumerate(runs, 1)]


THERE_AND_BACK = (_run(1, 40, 3.0, 0.1), _run(2, 80, 1.0, 0.4), _run(3, 160), _run(3, 900), _run(2, 225), _run(1, 50))


def test_each_step_has_a_ratio_of_its_own() -> None:
    """1 to 2: 80/40 and 225/50, in the middle 3. 2 to 3: 160/80 and 900/225, in the middle the root of 8."""
    first, second = steps((1, 2, 3), _turns(*THERE_AND_BACK))
    assert (first["from"], first["to"], second["from"], second["to"]) == (1, 2, 2, 3)
    assert first["ratio"]["pairs"] == (2, 4.5)
    assert first["ratio"]["middle"] == pytest.approx(3)
    assert second["ratio"]["pairs"] == (2, 4)
    assert second["ratio"]["middle"] == pytest.approx(math.sqrt(8))
    assert [one["rate"] for one in second["ceilings"]["from"]] == [80, 225]


def test_what_a_request_leads_to_changes_by_the_means_of_both_searches() -> None:
    """Queries: (3 + 1) / 2 = 2 to (1 + 0.5) / 2 = 0.75, which is 62.5 % less. Only one end has an origin."""
    a = _turns(_run(1, 40, 3.0), _run(1, 50, 1.0))
    b = _turns(_run(2, 80, a_request={"queries": 1.0, "origin_requests": 0.7}), _run(2, 90, 0.5))
    (step,) = steps((1, 2), [*a, *b])
    assert step["counted"] == {"queries": {"from": 2.0, "to": 0.75, "change": -0.625}}


def test_no_change_is_told_of_what_was_not_there_before() -> None:
    (step,) = steps((1, 2), _turns(_run(1, 40, 0.0), _run(2, 80), _run(2, 80), _run(1, 40, 0.0)))
    assert step["counted"]["queries"]["change"] is None


def test_hits_are_the_mean_at_each_stage_that_has_a_cache() -> None:
    cached = [_run(3, 100, a_request={"queries": 0.5, "hit_ratio": share}) for share in (0.7, 0.8)]
    (step,) = steps((2, 3), _turns(_run(2, 50), *cached, _run(2, 50)))
    assert step["hit_ratio"]["from"] is None
    assert step["hit_ratio"]["to"] == pytest.approx(0.75)
    assert set(step["counted"]) == {"queries"}, "a change of a ratio is no ratio of what is done"


def test_goodput_is_told_of_both_searches_but_not_where_the_machine_was_the_limit() -> None:
    limited = _run(2, 80, kept=0.4)
    limited["overload"]["over"][1]["limits"] = ["host with 1% idle CPU"]
    (step,) = steps((1, 2), _turns(_run(1, 40, kept=0.1), limited, _run(2, 80, kept=0.8), _run(1, 40, kept=0.2)))
    twice, thrice = step["goodput"]
    assert twice == {"times": 2.0, "from": [0.1, 0.2], "to": [0.4, 0.8]}
    assert thrice["times"] == 3.0
    assert thrice["from"] == pytest.approx([0.075, 0.15])
    assert thrice["to"] == [None, pytest.approx(0.6)]


def test_it_is_read_from_what_a_search_leaves() -> None:
    """Of a known system with a ceiling of 0.88 times its capacity, so 2.5 times as high at stage 3, and 1.5 queries a
    request to 0.5.
    """
    a, b = record(capacity=100, stage=2), record(capacity=250, stage=3)
    (row,) = told.rows({"mix": {"name": "browse"}, "steps": steps((2, 3), _turns(a, b, b, a))})
    assert float(row.ratio) == pytest.approx(2.5, rel=0.05)
    assert (row.queries, row.hits) == ("−67 %", "– → 90 %")
    kept = [[words.percent(load["share"]) for load in run["overload"]["over"]] for run in (a, b)]
    assert row.twice == f"{kept[0][0]}, {kept[0][0]} → {kept[1][0]}, {kept[1][0]}"
    assert row.thrice == f"{kept[0][1]}, {kept[0][1]} → {kept[1][1]}, {kept[1][1]}"


def test_a_search_without_a_verdict_takes_only_its_steps_ratios() -> None:
    """Of 1 2 3 3 2 1 the first has none: the step from 2 to 3 is whole."""
    turns = _turns(*THERE_AND_BACK)
    turns[0] = turn(1, {}, None, "host with 1% idle CPU")
    first, second = steps((1, 2, 3), turns)
    assert first["ratio"] is None
    assert first["counted"] == {}
    assert [one and one["rate"] for one in first["ceilings"]["from"]] == [None, 50]
    assert first["goodput"][0]["from"] == [None, 0.5]
    assert second["ratio"]["pairs"] == (2, 4)


@pytest.mark.parametrize(("done", "ratios"), [(0, [False, False]), (4, [False, False]), (5, [False, True])])
def test_after_so_many_searches_the_steps_whose_pairs_are_whole_have_a_ratio(done: int, ratios: list[bool]) -> None:
    found = steps((1, 2, 3), _turns(*THERE_AND_BACK[:done]))
    assert [step["ratio"] is not None for step in found] == ratios


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
        left = _run(stage, 50.0 * stage, **self.more.get(self._number, {}))
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
    (folder / "run.json").write_text(json.dumps(_run(1, 50) | {"started": "2025-01-01T00:00:00Z"}))
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


def _record(**more: Any) -> dict[str, Any]:
    """As ``make transitions STAGES="1 2 3"`` leaves it."""
    turns = _turns(*THERE_AND_BACK)
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
    turns = _turns(*THERE_AND_BACK)
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
    runs = [_run(stage, 10, a_request=count) for stage, count in zip((3, 4, 4, 3), counts, strict=True)]
    (row,) = told.counted({"steps": steps((3, 4), _turns(*runs))})
    assert row == told.Counted("3 → 4", "requests at the origin a request", "1.00", "1.30", "+30 %")


def test_what_is_kept_is_enough_for_the_report(searches: _Searches, tmp_path: Path) -> None:
    """The record that the command leaves, not one that is made up."""
    assert cli.main([1, 2, 3]) == 0
    (path,) = tmp_path.glob("*-turns-*/report.html")
    assert "stage 3 holds 1.50 times what stage 2 does" in checked(path.read_text())
