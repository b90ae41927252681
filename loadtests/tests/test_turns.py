"""Two stages measured in turn: the ratio, its interval, and the order."""

import math
from pathlib import Path
from typing import Any

import pytest

from loadtests import turns
from loadtests.ceiling import cli
from loadtests.turns import ratio


def _ceiling(rate: float, off: float) -> dict[str, float]:
    """With an interval from ``rate / off`` to ``rate * off``."""
    return {"rate": rate, "low": rate / off, "high": rate * off}


def test_the_ratio_is_the_geometric_mean_of_the_pairs() -> None:
    """40 to 80 and 50 to 225: 2 and 4.5, of which the mean is 3."""
    found = ratio([_ceiling(40, 1.0), _ceiling(50, 1.0)], [_ceiling(80, 1.0), _ceiling(225, 1.0)])
    assert found.middle == pytest.approx(3)
    assert found.pairs == (2, 4.5)


def test_pairs_that_differ_make_it_wide_although_each_ceiling_is_sure() -> None:
    """Half of log(4.5/2) is the mean's standard error: 0.405, times 1.96."""
    found = ratio([_ceiling(40, 1.0), _ceiling(50, 1.0)], [_ceiling(80, 1.0), _ceiling(225, 1.0)])
    assert found.low == pytest.approx(3 * math.exp(-1.96 * 0.4055), rel=1e-3)
    assert found.high == pytest.approx(3 * math.exp(1.96 * 0.4055), rel=1e-3)


def test_ceilings_that_are_unsure_make_it_wide_although_the_pairs_agree() -> None:
    """Four intervals of a factor 1.1 either way: their logs add as squares do, 2 x 0.0953, and half of that counts."""
    found = ratio([_ceiling(40, 1.1), _ceiling(50, 1.1)], [_ceiling(80, 1.1), _ceiling(100, 1.1)])
    assert found.high == pytest.approx(2 * 1.1)
    assert found.low == pytest.approx(2 / 1.1)


@pytest.mark.parametrize(
    ("a", "b", "said"), [("stage2", "stage2", "different stages"), ("runs/x", "stage2", "no stage")]
)
def test_what_cannot_be_measured_in_turn_is_told_before_anything_is_done(
    a: str, b: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert turns.main(a, b) == 2
    assert said in capsys.readouterr().err


class _Searches:
    """In the place of what brings stages up and searches."""

    def __init__(self, runs: Path, codes: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        self.done: list[str] = []
        self._runs = runs
        self._codes = iter(codes)

    def up(self, verb: str, stage: int, *_: str) -> None:
        self.done.append(f"{verb} {stage}")

    def search(self, stage: int, mix: str, quick: bool) -> int:
        self.done.append(f"{stage} {mix} {'quick' if quick else 'full'}")
        return next(self._codes)

    def newest(self, stage: int, *_: str) -> dict[str, Any]:
        rate = 50.0 * stage
        return {"ceiling": _ceiling(rate, 1.05), "folder": self._runs / f"of-stage{stage}", "stage": stage}


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Searches:
    made = _Searches(tmp_path)
    monkeypatch.setattr(turns, "run", made.up)
    monkeypatch.setattr(cli, "main", made.search)
    monkeypatch.setattr(turns, "_newest", made.newest)
    monkeypatch.setattr(turns, "RUNS", tmp_path)
    monkeypatch.setattr(turns, "Run", lambda stage, name: _Kept(tmp_path, stage, name))
    monkeypatch.setattr(turns, "interruptible", lambda: None)
    monkeypatch.setattr(turns, "differences", lambda *_, in_turn: [] if in_turn else ["the speed"])
    return made


class _Kept:
    def __init__(self, runs: Path, stage: int, name: str) -> None:
        self.folder = runs / f"stage{stage}-{name}"
        self.data: dict[str, Any] = {}

    def save(self) -> None:
        self.folder.mkdir()


def test_both_are_up_before_they_are_measured_a_b_b_a(searches: _Searches, capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.main("stage2", "stage3", "pages", quick=True) == 0
    assert searches.done == ["up 2", "up 3", "2 pages quick", "3 pages quick", "3 pages quick", "2 pages quick"]
    said = capsys.readouterr().out
    assert "Stage 3 holds 1.50 times what stage 2 does on pages" in said
    assert "1.50 and 1.50" in said


def test_a_search_without_a_verdict_ends_it(searches: _Searches) -> None:
    searches._codes = iter((0, 3))
    assert turns.main("stage1", "stage2") == 3
    assert len(searches.done) == 4
