"""Only like is set against like, and side by side."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from loadtests import compare
from loadtests.report.side_by_side import explanation, facts, page, ratio
from loadtests.tests.reports import checked, written
from loadtests.tests.runs import known, record

SEED = {"size": "small", "version": 3, "rows": {"users": 1000}, "covers": "c0", "covered": 500}


def test_the_ratio_of_two_ceilings_has_an_interval_from_both() -> None:
    """Relative errors of ln 1.25 and 0.1: √(0.22314² + 0.1²) = 0.24452, so from 2 / 1.277 to 2 · 1.277."""
    first = {"rate": 100.0, "low": 80.0, "high": 125.0}
    second = {"rate": 200.0, "low": 200 / math.exp(0.1), "high": 200 * math.exp(0.1)}
    found = ratio(first, second)
    assert found == pytest.approx((1.56614, 2.55405), abs=1e-4)
    assert ratio(first, {"rate": 200.0}) is None
    assert ratio({"rate": 100.0, "low": None}, second) is None


def test_twice_as_many_boxes_of_a_role_are_held_against_what_was_expected() -> None:
    first, second = record(capacity=100, stage=3), record(capacity=180, stage=3)
    second["boxes"] += [{"name": name, "role": "app", "cpus": 0.25} for name in ("app3", "app4")]
    first["demand"]["if_doubled"] = {"app": 150.0}
    second["ceiling"]["rate"] = 200.0
    said = explanation(first, second)[0]
    assert "With twice as many boxes “app”, 150/s were expected" in said
    assert "measured were 200/s, so that the prediction is 25 % too low." in said
    second["boxes"] += [{"name": "db2", "role": "db", "cpus": 0.25}]
    assert not any("With twice as many" in text for text in explanation(first, second))


def test_what_a_request_leads_to_is_set_side_by_side() -> None:
    first, second = record(capacity=100, stage=2), record(capacity=250, stage=3)
    assert ("database queries a request", "1.50", "0.50") in facts(first, second)
    said = explanation(first, second)
    assert "From stage 2 to 3: database queries a request: 1.50 to 0.50, 67 % less." in said
    assert "doubling any other instead would not lift it" in said[0]


def test_two_stages_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    for number, capacity in ((1, 100), (2, 150)):
        run = record(capacity=capacity, stage=number)
        written(tmp_path / f"20260101T00000{number}Z-stage{number}-browse", run)
    first, second = compare.pair("stage1", "stage2", None)
    text = checked(page(first, second))
    assert "1.5" in text
    assert "with a box each were expected to reach" in explanation(first, second)[0]
    assert "doubled, it would lift the ceiling" in text
    first["demand"]["if_split"] = 2 * second["ceiling"]["rate"]
    assert "What the network between them costs" in explanation(first, second)[0]
    first["demand"]["if_split"] = second["ceiling"]["rate"] / 2
    assert "a request costs less where the two do not share a box" in explanation(first, second)[0]
    assert compare.main("stage1", "stage2") == 0
    assert len(list(tmp_path.glob("*/compare.html"))) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": {"users": 10_000, "articles": 100_000, "articles_sampled": 1}}, "datasets of 1000 users"),
        ({"mix": {"name": "feed", "model": "x"}}, "mix browse and feed"),
        ({"machine": {"cores": 8, "memory": 8 << 30, "processor": "A CPU"}}, "2 cores, .* and 8 cores"),
    ],
)
def test_unlike_runs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    written(tmp_path / "1-stage1-browse", record(capacity=100))
    written(tmp_path / "2-stage2-browse", record(capacity=100, stage=2) | change)
    with pytest.raises(compare.IncomparableError, match=said):
        compare.pair("stage1", "stage2", None)


@pytest.mark.parametrize(
    ("ns", "machine", "said"),
    [
        (328.0, {}, ""),
        (332.0, {}, "canary's work in 300 and 332 ns at best, and usually in 600 and 664"),
        (271.0, {}, "canary's work in 300 and 271 ns at best, and usually in 600 and 542"),
        (300.0, {"kernel": "6.2"}, "kernels 6.1 and 6.2"),
        (300.0, {"processor": "B CPU"}, "A CPU and .*B CPU"),
        (310.0, {"boot": "b2"}, ""),
    ],
)
def test_another_machine_or_another_speed_is_refused(ns: float, machine: dict[str, Any], said: str) -> None:
    first, second = known(record(capacity=100), 300.0), known(record(capacity=150, stage=2), ns, **machine)
    found = compare.differences(first, second)
    assert bool(found) == bool(said)
    assert not said or re.search(said, found[0])


def test_a_machine_that_was_started_anew_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    written(tmp_path / "1-stage1-browse", known(record(capacity=100), 300.0))
    written(tmp_path / "2-stage2-browse", known(record(capacity=150, stage=2), 310.0, boot="b2"))
    first, second = compare.pair("stage1", "stage2", None)
    (note,) = compare.notes(first, second)
    assert "started anew" in note
    assert note in checked(page(first, second, [note]))
    assert compare.notes(first, first) == []
    assert compare.main("stage1", "stage2") == 0
    (html,) = tmp_path.glob("*/compare.html")
    assert "started anew" in html.read_text()


def test_a_speed_that_only_one_run_has_is_refused_and_what_none_has_is_as_it_was() -> None:
    first, second = record(capacity=100), record(capacity=150, stage=2)
    assert compare.differences(first, second) == []
    assert compare.differences(first, known(second, 300.0)) == ["the machine's speed is known of the second only"]


def test_who_signs_up_does_not_make_two_datasets_incomparable() -> None:
    first, second = record(capacity=100) | {"seeded": SEED}, record(capacity=150, stage=2) | {"seeded": dict(SEED)}
    second["dataset"] = second["dataset"] | {"users": 1007}
    assert compare.differences(first, second) == []
    second["seeded"]["version"] = 4
    assert "datasets of 1000 users" in compare.differences(first, second)[0]
    second["seeded"] = None  # of an import that is not a seed it is not known who was there before
    assert "datasets of 1000 users" in compare.differences(first, second)[0]
    second["seeded"] = SEED
    second["dataset"] = second["dataset"] | {"articles": 12_000}
    assert compare.differences(first, second), "what was published fills the lists"


def test_strangers_are_another_load() -> None:
    first, second = record(capacity=100), record(capacity=150, stage=2) | {"strangers": True}
    assert "STRANGERS=1" in compare.differences(first, second)[0]


def test_pages_with_covers_and_pages_without_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The datasets are as large, but what was published on top fills the lists of one."""
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    one, other = record(capacity=100), record(capacity=100, stage=2)
    for trial in other["trials"]:
        routes = trial["result"]["routes"]
        routes[compare.COVERS] = {**routes["GET /api/articles/{slug}"], "offered": 100}
    written(tmp_path / "1-stage1-browse", one)
    written(tmp_path / "2-stage2-browse", other)
    compare.pair("stage1", "stage2", None)  # of the same articles it is chance
    other["dataset"]["articles"] += 100
    written(tmp_path / "2-stage2-browse", other)
    with pytest.raises(compare.IncomparableError, match=r"covers are 0 % and .* of the requests: .*REPLACE=1"):
        compare.pair("stage1", "stage2", None)


@pytest.mark.parametrize(("field", "value"), [("cpus", 0.5), ("period_us", 100_000), ("one_core", True)])
def test_other_boxes_are_refused_and_the_newest_like_run_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: float
) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    one, other = record(capacity=100), record(capacity=100, stage=2)
    for box in other["boxes"]:
        box[field] = value
    written(tmp_path / "1-stage1-browse", one)
    written(tmp_path / "2-stage2-browse", other)
    with pytest.raises(compare.IncomparableError, match=r"boxes of 0\.25 CPU"):
        compare.pair("stage1", "stage2", None)
    written(tmp_path / "0-stage2-browse", record(capacity=80, stage=2))
    assert compare.pair("stage1", "stage2", None)[1]["folder"].name == "0-stage2-browse"


@pytest.mark.parametrize(("name", "said"), [("stage3", "no complete run"), ("nonsense", "neither a stage")])
def test_nothing_to_compare_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    written(tmp_path / "1-stage1-browse", record(capacity=100))
    with pytest.raises(compare.IncomparableError, match=said):
        compare.pair("stage1", name, None)
