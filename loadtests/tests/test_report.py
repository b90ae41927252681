"""The report of any run, complete or not, is one file that needs no network; and only like is set against like."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadtests import compare, report
from loadtests.ceiling import overload
from loadtests.ceiling.plan import QUICK
from loadtests.report.side_by_side import explanation, facts, page, ratio
from loadtests.report.words import foretold, percent, remedy, sentence, warmed
from loadtests.tests.runs import FIT, record

ADDRESS = re.compile(r"""(?:src|href|url|@import)\s*[=(]|//[a-z]|https?:""")


class Balanced(HTMLParser):
    """Raises when a tag is closed that was not the last one opened."""

    void = frozenset({"meta", "line", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - the parser's signature
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(html: str) -> str:
    """The text of a page, which must be balanced and ask for nothing from elsewhere."""
    assert not ADDRESS.search(html), ADDRESS.search(html)
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(parser.text)


def written(folder: Path, run: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    return checked(report.write(folder).read_text())


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


def test_what_a_request_leads_to_is_set_side_by_side() -> None:
    first, second = record(capacity=100, stage=2), record(capacity=250, stage=3)
    assert ("database queries a request", "1.50", "0.50") in facts(first, second)
    said = explanation(first, second)
    assert "From stage 2 to 3: database queries a request: 1.50 to 0.50, 67 % less." in said
    assert "doubling any other instead would not lift it" in said[0]


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


SEED = {"size": "small", "version": 3, "rows": {"users": 1000}, "covers": "c0", "covered": 500}


def known(run: dict[str, Any], ns: float, **machine: Any) -> dict[str, Any]:
    """A run with the machine's speed in its trials."""
    run["machine"] = run["machine"] | {"kernel": "6.1", "boot": "b1"} | machine
    for number, trial in enumerate(run["trials"]):
        # One trial in four is far off: the median is what counts.
        trial["result"]["canary"] = {"ns": 2 * ns if number % 4 == 0 else ns, "median": 2 * ns, "slow": 3 * ns}
        trial["host"] = {"idle": 0.5, "stolen": 0.003}
    return run


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


def test_the_report_tells_the_machine_s_speed_and_what_throttled_is_of(tmp_path: Path) -> None:
    text = written(tmp_path, known(record(capacity=300), 300.0))
    assert "a hash of the canary took 300 ns (300 to 600 in single trials) at best, and usually 600 ns (" in text
    assert "at most 0.3 % of the CPU stolen" in text
    assert text.count("share of the time in which the box wanted to run") == 2
    assert "scheduling periods" not in text
    older = written(tmp_path / "older", record(capacity=300))
    assert older.count("share of scheduling periods") == 2
    assert "canary" not in older


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


def test_quick_is_called_quick(tmp_path: Path) -> None:
    assert QUICK.mode == "quick"
    assert "A quick search" in written(tmp_path, record(capacity=50))


def test_a_warming_says_with_how_much_cpu_and_older_records_do_not_know() -> None:
    what = {"sent": 12_345, "failed": 0, "whole": False, "seconds": 24.6}
    assert warmed(what | {"cpus": 2}).startswith(
        "The cache was warmed by 12,345 reads in 25 s, with 2 CPU for each box meanwhile: the most popular"
    )
    assert "in 25 s: the most popular" in warmed(what)
