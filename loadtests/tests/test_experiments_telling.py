"""The load that goes on during an experiment, and how it is told what came of it; without a stage."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.stage import topology
from loadtests.ceiling.boxes import DockerUnreachableError
from loadtests.ceiling.drive import Generator, GeneratorError
from loadtests.ceiling.record import Run
from loadtests.ceiling.stage import Rig
from loadtests.experiments import cli, kill, plan, scene, verdict
from loadtests.experiments.scene import CannotError, Load
from loadtests.experiments.verdict import Failures
from loadtests.report import cited, experiment
from loadtests.tests.reports import checked
from loadtests.tests.runs import FIT, record, total

HERE = Path(__file__).parent


# The load that goes on meanwhile ----------------------------------------------------------------------------


class Telling:
    """What observes boxes whose one app counts ten queries each time that it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def metrics(self) -> dict[str, tuple[float, str]]:
        self.asked += 1
        return {"app1": (float(self.asked), f'conduit_database_seconds_count{{kind="read"}} {10 * self.asked}\n')}


@pytest.fixture
def driven(stub: Callable[..., str]) -> Iterator[Generator]:
    with Generator([sys.executable, str(HERE / "generate.py"), stub()], HERE.parent.parent) as generator:
        yield generator


@pytest.mark.slow
def test_a_load_goes_on_while_things_are_done_and_says_when_they_were(driven: Generator) -> None:
    observer: Any = Telling()
    wanted = {"mix": "browse", "warmup": 0.2, "profile": [[1.0, 50], [1.0, 50]]}
    with Load(driven, observer, wanted) as load:
        load.count()
        load.until(0.5)
        assert not load.result
        load.note("something broke")
        load.count()
    assert load.events[0]["what"] == "something broke"
    assert 0.5 <= load.events[0]["t"] < 1.0
    assert load.counted[0]["queries"] == 10.0
    assert len(load.result["stretches"]) == 2


@pytest.mark.slow
def test_a_load_that_cannot_go_on_ends_the_experiment(driven: Generator) -> None:
    driven._process.popen.kill()
    observer: Any = Telling()
    with pytest.raises(GeneratorError), Load(driven, observer, {"mix": "browse", "profile": [[5, 10]]}):
        pass


def test_a_stage_that_lacks_what_is_broken_says_so() -> None:
    alone = SimpleNamespace(name="app", service="app", role="app", labels={})
    boxes: Any = SimpleNamespace(boxes=[alone], origin=lambda: None)
    nothing: Any = None
    stage: Any = SimpleNamespace(number=2)
    bare = scene.Scene(stage, Rig(boxes, nothing, nothing), nothing, print)
    with pytest.raises(CannotError, match="stage 3 brings"):
        bare.apps()
    with pytest.raises(CannotError, match="the box cache, which stage 2 does not have"):
        bare.service("cache")
    assert bare.queued() == []


# Telling ----------------------------------------------------------------------------------------------------


def run_of(shown: verdict.Verdict, events: int = 1) -> dict[str, Any]:
    """A record of a load with an experiment in it."""
    series = [
        {"t": t, "offered": 25, "completed": 24, "good": 24, "errors": t == 5, "p95": 30.0 + t, "in_flight": 1}
        for t in range(20)
    ]
    shape: Any = SimpleNamespace(p95=40.0, completed_rate=25.0, achieved=1.0, error_share=0.0)
    result = {"series": series, "total": total(25.0, shape), **FIT, "host_idle": 0.01}
    trial = {
        "began": 0.0,
        "events": [{"t": 4.0 + n, "what": "app1 <killed>"} for n in range(events)],
        "counts": [],
        "result": result,
    }
    made = record(capacity=100, stage=3)
    return made | {"experiment": "kill", "trials": [trial], "verdict": shown.record()}


@pytest.mark.parametrize("events", [1, 25])
@pytest.mark.parametrize("held", [True, False, None])
def test_an_experiment_is_one_page_that_needs_no_network(tmp_path: Path, held: bool | None, events: int) -> None:
    shown = kill.judge(Failures(500, 0 if held else 1, 50, 0), [3.0], 2, [] if held is not None else ["host busy"])
    assert shown.held is held
    (tmp_path / "run.json").write_text(json.dumps(run_of(shown, events)))
    html = experiment.write(tmp_path).read_text()
    text = checked(html)
    assert f"{experiment.WORDS[held]}." in text
    assert "<killed>" not in html
    assert ("app1 <killed>" in text) == (events == 1)
    assert "make box CPU=0.125" in text, "the host had 1 % idle CPU"


def test_the_docs_cite_what_came_of_experiments_and_what_a_request_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = kill.judge(Failures(500, 0, 50, 0), [3.0], 2, [])
    kept = {"stage3-kill": run_of(shown) | {"mode": "full"}, "stage2-browse": record(capacity=100, stage=2)}
    kept["stage3-browse"] = record(capacity=250, stage=3)
    for name, run in kept.items():
        folder = tmp_path / "docs" / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run))
    page = tmp_path / "docs" / "stage3.md"
    page.write_text(
        "<!-- experiments: stage3-kill -->\n<!-- end -->\n"
        "<!-- requests: stage2-browse stage3-browse -->\n<!-- end -->\n"
    )
    monkeypatch.setattr(cited, "ROOT", tmp_path)
    text = cited.filled(page)
    link = "[full, 2026-01-01](../docs/runs/stage3-kill/report.html)"
    assert f"| 3, kill | **Held** | {shown.sentence} | {link} |" in text
    assert "| database queries a request | 1.50 | 0.50 |" in text
    assert "| cache hits, of its look-ups | – | 90 % |" in text


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1), (None, 3)])
def test_the_command_ends_by_the_verdict_and_keeps_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], held: bool | None, code: int
) -> None:
    _prepared(monkeypatch, tmp_path)
    seen: list[plan.Plan] = []

    def run(_: Any, given: plan.Plan) -> verdict.Verdict:
        seen.append(given)
        return verdict.Verdict(held, "What was seen.", [("seen", "1")])

    monkeypatch.setattr(kill, "run", run)
    assert cli.main(3, "kill", quick=True, rate=7.0) == code
    assert seen == [dataclasses.replace(plan.QUICK["kill"], rate=7.0)]
    assert f"{experiment.WORDS[held]}: What was seen." in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    kept = json.loads((folder / "run.json").read_text())
    assert kept["complete"]
    assert kept["verdict"]["held"] is held
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("error", [CannotError("no such box"), DockerUnreachableError("gone"), KeyboardInterrupt()])
def test_what_ends_an_experiment_early_is_in_its_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    _prepared(monkeypatch, tmp_path)

    def run(*_: Any) -> verdict.Verdict:
        raise error

    monkeypatch.setattr(kill, "run", run)
    assert cli.main(3, "kill", quick=True) in (1, 130)
    (folder,) = tmp_path.iterdir()
    kept = json.loads((folder / "run.json").read_text())
    assert not kept["complete"]
    assert kept["why_incomplete"] in (str(error), "interrupted")


def _prepared(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    """A stage that needs no Docker, and its runs in a folder of the test's."""
    described = {name: record(capacity=100)[name] for name in ("machine", "boxes", "dataset", "generator", "mix")}
    monkeypatch.setattr(cli, "interruptible", lambda: None)
    part: Any = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(cli, "ready", lambda *_: Rig(part, part, part))
    monkeypatch.setattr(cli, "described", lambda *_: described)
    monkeypatch.setattr(topology, "read", lambda _: SimpleNamespace(number=3))
    monkeypatch.setattr(cli, "Run", lambda stage, name: Run(stage, name, runs))
