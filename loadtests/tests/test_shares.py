"""What a part of a mix takes is found in trials of a system that is known, and said as it is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtests import compare
from loadtests.ceiling.live import Progress
from loadtests.ceiling.record import Run
from loadtests.ceiling.stage import Rig
from loadtests.observe.readings import Host, Load, Moment, Reading, load
from loadtests.report import cited
from loadtests.report import shares as told
from loadtests.shares import cli, figures, tasks
from loadtests.shares.figures import IDLE, WHOLE
from loadtests.shares.measure import Trials
from loadtests.shares.plan import FULL, LEFT_OUT, MIXES, QUICK, Plan, order

TEXT = """# HELP conduit_task_cpu_seconds_total CPU seconds that tasks took of their threads
# TYPE conduit_task_cpu_seconds_total counter
conduit_task_cpu_seconds_total{task="image"} %s
conduit_task_cpu_seconds_total{task="mail"} 2.5e-01
conduit_task_cpu_seconds_created{task="image"} 1.79e+09
"""


class System:
    """Boxes and a generator of known costs: CPU seconds a request of each part, and CPUs at rest."""

    COSTS = {"html": 0.001, "assets": 0.001, "covers": 0.002, "api": 0.004, "cover": 0.5, "report": 0.05}  # noqa: RUF012
    SHARES = {  # noqa: RUF012
        "pages": {"html": 0.15, "assets": 0.3, "covers": 0.15, "api": 0.4},
        "publish": {"api": 0.97, "cover": 0.02, "report": 0.01},
    }
    REST = 0.01

    def __init__(self, quota: float = 0.25, fails_after: int | None = None, generator: float = 0.1) -> None:
        self.quota = quota
        self.asked: list[dict[str, Any]] = []
        self._used = 0.0
        self._clock = 0.0
        self._images = 0.0
        self._fails_after = fails_after
        self._generator = generator
        self.ready = {"dataset": {"users": 10, "articles": 100}, "articles_sampled": 100, "cpu": 1.0}

    def __enter__(self) -> "System":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def capacity(self) -> dict[str, float]:
        return {"app": self.quota}

    def read(self) -> Moment:
        box = Reading(self._clock, int(self._used * 1e9), 0, 1 << 20)
        return Moment(self._clock, {"app": box}, Host(self._clock, int(200 * self._clock), 0, 0))

    def seconds(self) -> list[Moment]:
        return []

    latest = seconds

    def close(self) -> None:
        pass

    def metrics(self) -> dict[str, tuple[float, str]]:
        return {"app": (self._clock, TEXT % self._images)}

    def between(self, before: Moment, after: Moment) -> dict[str, Load]:
        return {"app": load(before.boxes["app"], after.boxes["app"], self.quota)}

    def trial(self, wanted: dict[str, Any], on_window: Any, on_progress: Any) -> dict[str, Any]:
        if self._fails_after is not None and len(self.asked) == self._fails_after:
            raise KeyboardInterrupt
        self.asked.append(wanted)
        ((seconds, rate),) = wanted["profile"]
        sent = {part: share for part, share in self.SHARES[wanted["mix"]].items() if part not in wanted["without"]}
        on_window("start")
        on_progress({"t": 0.5, "seconds": seconds, "rate": rate, "achieved": rate, "p95": 9.0, "errors": 0})
        self._clock += seconds
        self._used += seconds * (self.REST + rate * sum(share * self.COSTS[part] for part, share in sent.items()))
        self._images += seconds * rate * sent.get("cover", 0.0) * 0.4
        on_window("end")
        count = int(seconds * rate * sum(sent.values()))
        uploads = int(int(seconds * rate) * sent.get("cover", 0.0))
        total = {"offered": count, "sent": count, "answered": count, "errors": {}, "error_share": 0.0, "p95": 20.0}
        waits = sorted(1000.0 + 10 * number for number in range(uploads))
        of_cover = {"publishing with a cover": {"count": uploads, "failed": 0, "waits_ms": waits}}
        return {
            "seconds": seconds,
            "total": total | {"completed_rate": rate},
            "routes": {
                "GET /": {"offered_rate": rate * sent.get("html", 0.0) / 3},
                "GET /article/{slug}": {"offered_rate": rate * sent.get("html", 0.0) * 2 / 3},
                "GET /api/articles": {"offered_rate": rate * sent.get("api", 0.0)},
                "GET /assets/{name}": {"offered_rate": rate * sent.get("assets", 0.0)},
            },
            "journeys": of_cover if uploads else {},
            "series": [{"in_flight": 1}] * max(1, int(seconds)),
            "generator": {"cpu_share": self._generator, "late_share": 0.0},
            "host_idle": 0.5,
        }


PLAN = Plan("quick", probe_seconds=5, idle_seconds=5, rounds=3, seconds=20, alone_seconds=60, warmup=0)


def measured(tmp_path: Path, mix: str, system: System, rate: float | None = None) -> dict[str, Any]:
    """The record of a run of all trials."""
    run = Run(2, f"shares-{mix}", tmp_path)
    run.data |= {"mix": {"name": mix}, "boxes": [{"name": "app", "cpus": system.quota}], "mode": "quick"}
    progress = Progress("", Console(file=(tmp_path / "said").open("w")))
    plan = PLAN if mix == "publish" else dataclasses.replace(PLAN, alone_seconds=0.0)
    rig: Any = Rig
    Trials(rig(system, system, system), run, mix, progress).all(plan, 5.0, rate)
    data: dict[str, Any] = run.data
    data |= {"shares": figures.shares(data["trials"]), "journeys": figures.journeys(data["trials"])}
    return data | {"page_views": figures.page_views(data["trials"]), "complete": True}


def test_the_parts_of_pages_are_found(tmp_path: Path) -> None:
    run = measured(tmp_path, "pages", System())
    rate = run["rate"]
    whole = System.REST + rate * sum(System.COSTS[part] * share for part, share in System.SHARES["pages"].items())
    found = {name: share["mean"] for name, share in run["shares"]["app"].items()}
    assert found["HTML and assets"] == pytest.approx(rate * 0.45 * 0.001 / whole, rel=1e-3)
    assert found["covers served"] == pytest.approx(rate * 0.15 * 0.002 / whole, rel=1e-3)
    assert found[IDLE] == pytest.approx(System.REST / whole, rel=1e-3)
    assert found["the rest"] == pytest.approx(rate * 0.4 * 0.004 / whole, rel=1e-3)
    assert (found["image"], found["mail"], found["report"]) == (0, 0, 0), "nobody publishes here"
    assert run["page_views"] == pytest.approx(rate * 0.15, rel=1e-3)
    assert run["journeys"] == []
    assert whole / 0.25 == pytest.approx(0.5, abs=0.03), "half busy, whatever the first rate was"


def test_a_part_that_nobody_asked_for_has_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no article that is read has a cover: two trials with the same requests differ by noise alone."""
    shares = {"html": 0.2, "assets": 0.3, "covers": 0.0, "api": 0.5}
    monkeypatch.setattr(System, "SHARES", System.SHARES | {"pages": shares})
    run = measured(tmp_path, "pages", System())
    assert "covers served" not in run["shares"]["app"]
    assert run["shares"]["app"]["HTML and assets"]["mean"] > 0


def test_a_round_in_which_nobody_asked_for_a_part_counts_as_it_is(tmp_path: Path) -> None:
    """By chance, as with few uploads: what the others show is not the part's share of all rounds."""
    run = measured(tmp_path, "publish", System())
    first = {trial["variant"]: trial for trial in run["trials"] if trial["round"] == 0}
    whole, without = first["whole"], first["covers made"]
    whole["result"]["total"]["offered"] = without["result"]["total"]["offered"]
    whole["boxes"] = without["boxes"]
    before, found = (shares["app"]["covers made"] for shares in (run["shares"], figures.shares(run["trials"])))
    assert (found["low"], found["high"]) == (0.0, before["high"])
    assert 0 < found["mean"] < before["mean"]


def test_few_uploads_do_not_mislead_about_the_rate(tmp_path: Path) -> None:
    """They are seen alone and all else without them, so no probe has to be so lucky as to meet as many as usual."""
    run = measured(tmp_path, "publish", System())
    whole = System.REST + run["rate"] * sum(
        System.COSTS[part] * share for part, share in System.SHARES["publish"].items()
    )
    assert whole / 0.25 == pytest.approx(0.3, abs=0.02)
    probes = [trial for trial in run["trials"] if trial["variant"].startswith("probe")]
    assert [trial["without"] for trial in probes] == [["cover"]]


def test_covers_made_and_the_images_in_them_are_counted_once(tmp_path: Path) -> None:
    run = measured(tmp_path, "publish", System(), rate=8.0)
    whole = System.REST + 8 * sum(System.COSTS[part] * share for part, share in System.SHARES["publish"].items())
    found = {name: share["mean"] for name, share in run["shares"]["app"].items()}
    assert found["covers made"] == pytest.approx(8 * 0.02 * 0.5 / whole, rel=1e-3)
    assert found["image"] == pytest.approx(8 * 0.02 * 0.4 / whole, rel=1e-3)
    assert sum(found.values()) - found["image"] == pytest.approx(1)
    alone, within = run["journeys"]
    assert (alone["among"], within["among"]) == ("alone", "whole")
    assert alone["count"] == int(60 * 5 * 0.02)
    assert within["count"] == 3 * int(20 * 8 * 0.02), "those of all rounds, but none without covers"
    assert (within["p50"], within["max"]) == (1010.0, 1020.0)
    assert alone["a_minute"] == pytest.approx(alone["count"])
    assert alone["utilisation"] == pytest.approx((System.REST + 5 * 0.02 * 0.5) / 0.25, rel=1e-3)
    assert alone["utilisation"] < within["utilisation"]
    assert run["page_views"] is None


def test_trials_take_turns_with_the_same_arrivals_in_each_round(tmp_path: Path) -> None:
    system = System()
    run = measured(tmp_path, "pages", system, rate=30.0)
    rounds = [trial for trial in run["trials"] if trial["round"] is not None]
    assert [trial["variant"] for trial in rounds[:6]] == [
        *(WHOLE, "HTML and assets", "covers served"),
        *("HTML and assets", "covers served", WHOLE),
    ]
    asked = [one for one in system.asked if one["profile"] == [[20, 30.0]]]
    assert [one["seed"] for one in asked] == [2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert asked[1]["without"] == ["html", "assets"]
    assert next(trial["rate"] for trial in run["trials"] if trial["variant"] == IDLE) == 0


def test_an_order_begins_each_round_with_another() -> None:
    turns = order(["a", "b", "c"], 4)
    assert [variant for turn, variant in turns if turn == 1] == ["b", "c", "a"]
    assert [variant for _, variant in turns[::3]] == ["a", "b", "c", "a"]
    assert len(turns) == 12


@pytest.mark.parametrize("plans", [QUICK, FULL])
def test_every_mix_with_parts_has_a_plan(plans: dict[str, Plan]) -> None:
    from loadtests.load import mixes

    assert set(plans) == set(MIXES) == set(LEFT_OUT)
    for mix, parts in LEFT_OUT.items():
        assert {part for names in parts.values() for part in names} <= set(mixes.load(mix).parts)
        plan = plans[mix]
        trials = plan.rounds * (1 + len(parts))
        seconds = plan.probe_seconds + plan.idle_seconds + trials * (plan.seconds + plan.warmup) + plan.alone_seconds
        assert seconds < (150 if plan.mode == "quick" else 1000)


def test_interrupted_it_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, code = commanded(tmp_path, monkeypatch, System(fails_after=6))
    assert code == 130
    assert not run["complete"]
    assert run["why_incomplete"] == "interrupted"
    assert set(run["shares"]["app"]) >= {"HTML and assets", "covers served"}


def commanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: System) -> tuple[dict[str, Any], int]:
    """The command on a system instead of a stage; its record and exit code."""
    runs: list[Run] = []

    def run(stage: int, mix: str) -> Run:
        runs.append(Run(stage, mix, tmp_path))
        return runs[-1]

    monkeypatch.setattr(cli, "Run", run)
    rig: Any = Rig
    monkeypatch.setattr(cli, "ready", lambda _stage, _size: rig(system, system, system))
    monkeypatch.setattr(cli, "described", lambda mix, _rig: {"mix": {"name": mix.name}, "boxes": [{"name": "app"}]})
    code = cli.main(2, "pages", quick=True, rate=30.0)
    return runs[0].data, code


def test_the_command_prints_a_table_and_keeps_the_raw_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    run, code = commanded(tmp_path, monkeypatch, System())
    assert code == 0
    assert run["kind"] == "shares"
    assert run["complete"]
    out = capsys.readouterr().out
    assert "HTML and assets" in out
    assert "At 30 requests/s, 4.5 page views/s: app" in out
    assert "Raw data: " in out
    (folder,) = tmp_path.glob("*-stage2-shares-pages")
    assert (folder / "run.json").exists()


def test_docs_cite_shares_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mix in MIXES:
        folder = tmp_path / "docs" / "runs" / f"stage2-shares-{mix}"
        folder.mkdir(parents=True)
        run = measured(tmp_path, mix, System(), rate=8.0)
        (folder / "run.json").write_text(json.dumps(run))
    page = tmp_path / "docs" / "stage2.md"
    page.write_text(
        "<!-- shares: stage2-shares-pages stage2-shares-publish -->\n<!-- end -->\n"
        "<!-- journeys: stage2-shares-publish -->\nold\n<!-- end -->\n"
    )
    monkeypatch.setattr(cited, "ROOT", tmp_path)
    lines = cited.filled(page).splitlines()
    assert lines[1] == (
        "| share of the CPU used | [stage 2, pages](../docs/runs/stage2-shares-pages/run.json), 8.0 requests/s: app "
        "| [stage 2, publish](../docs/runs/stage2-shares-publish/run.json), 8.0 requests/s: app |"
    )
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines[3 : lines.index("<!-- end -->")])
    assert rows["HTML and assets"].endswith("| –")
    assert rows["covers, uploaded and made"].startswith("– | ")
    assert "old" not in lines
    assert lines[-3].startswith("| stage 2, publishing with a cover | 6.0 | ")
    assert lines[-2].startswith("| stage 2, publishing with a cover, within publish | ")
    assert lines[-2].endswith("[quick](../docs/runs/stage2-shares-publish/run.json) |")


def test_what_was_limited_by_something_else_says_so(tmp_path: Path) -> None:
    run = measured(tmp_path, "pages", System(generator=0.9), rate=30.0)
    assert "Limited by what measures, in 10 of 10 trials: generator at 90% of its CPU." in told.notes(run)


def test_a_round_that_was_limited_by_something_else_does_not_count(tmp_path: Path) -> None:
    run = measured(tmp_path, "pages", System(), rate=30.0)
    before = figures.shares(run["trials"])
    limited = next(trial for trial in run["trials"] if trial["round"] == 1)
    limited |= {"valid": False, "boxes": {"app": limited["boxes"]["app"] | {"cpu": 100.0}}}
    after = figures.shares(run["trials"])
    assert {name: share["mean"] for name, share in after["app"].items()} == pytest.approx(
        {name: share["mean"] for name, share in before["app"].items()}, abs=0.02
    )


def test_an_overloaded_stage_says_so(tmp_path: Path) -> None:
    run = measured(tmp_path, "pages", System(), rate=30.0)
    run["trials"][3]["failures"] = ["p95 900 ms > 500 ms"]
    assert "Beyond what the stage holds, in 1 of 10 trials: p95 900 ms > 500 ms." in told.notes(run)


def test_a_run_of_shares_is_no_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    commanded(tmp_path, monkeypatch, System())
    with pytest.raises(compare.IncomparableError, match="stage2 has no complete run with a ceiling"):
        compare.candidates("stage2", None)


@pytest.mark.parametrize(
    ("given", "said"), [({"mix": "browse"}, "take one of pages, publish"), ({"rate": -3.0}, "-3 requests/s cannot be")]
)
def test_what_cannot_be_measured_is_refused(
    given: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(2, **given) == 1
    assert said in capsys.readouterr().err


def test_slow_work_is_read_off_the_apps_metrics() -> None:
    assert tasks.cpu_seconds(TEXT % "1.5") == {"image": 1.5, "drop": 0.0, "mail": 0.25, "report": 0.0}
    assert tasks.cpu_seconds("nginx_up 1\n") == {}
    used = tasks.cpus(TEXT % "1.5", TEXT % "4.5", seconds=10)
    assert used == {"image": pytest.approx(0.3), "drop": 0.0, "mail": 0.0, "report": 0.0}
    again = tasks.cpus(TEXT % "9", TEXT % "1", seconds=10)
    assert again["image"] == 0, "it was started anew meanwhile"


def test_the_app_counts_under_the_names_that_are_read() -> None:
    from conduit.bootstrap import task_handlers
    from conduit.metrics import TASK_CPU

    nothing: Any = None
    handlers = task_handlers(nothing, nothing, nothing, nothing)
    assert {handler.kind for handler in handlers} == set(tasks.KINDS)
    TASK_CPU.labels("image").inc(2)
    from prometheus_client import generate_latest

    assert tasks.cpu_seconds(generate_latest().decode())["image"] >= 2
