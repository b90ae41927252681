"""What experiments conclude from what they saw, and how they tell it; without a stage."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.stage import topology
from infra.stage.__main__ import EXPERIMENTS
from loadtests import mixes
from loadtests.ceiling.boxes import DockerUnreachableError
from loadtests.ceiling.drive import Generator, GeneratorError
from loadtests.ceiling.record import Run
from loadtests.experiments import cache, cli, harm, kill, plan, publishing, queue, restart, scene, stampede, verdict
from loadtests.experiments.scene import CannotError, Load
from loadtests.experiments.verdict import Failures
from loadtests.report import cited, experiment
from loadtests.tests.runs import record, total
from loadtests.tests.test_report import checked

HERE = Path(__file__).parent
APP1, APP2 = "10.83.3.11", "10.83.3.12"


def entry(at: float, upstream: str, status: int = 200, seconds: float = 0.01) -> dict[str, Any]:
    return {"time": at, "seconds": seconds, "status": status, "upstream": upstream, "bytes": 100}


def test_every_experiment_can_be_typed_and_has_a_short_and_a_long_form() -> None:
    assert tuple(plan.QUICK) == tuple(plan.FULL) == EXPERIMENTS
    for name in plan.NAMES:
        short, long = plan.QUICK[name], plan.FULL[name]
        assert (short.mode, long.mode) == ("quick", "full")
        assert short.seconds <= 60
        assert mixes.load(short.mix).steady


def test_failures_are_told_by_what_may_be_sent_again() -> None:
    routes = {
        "GET /api/articles": {"sent": 100, "errors": {"status 502": 1}},
        "PUT /api/articles/{slug}/cover": {"sent": 5, "errors": {}},
        "POST /api/articles": {"sent": 10, "errors": {"status 502": 2, "time-out": 1}},
        "not sent": {"sent": 0, "errors": {"generator: too many in flight": 4}},
    }
    found = verdict.failures(routes)
    assert found == Failures(105, 1, 10, 3, {"status 502": 3, "time-out": 1})
    assert found.failed == 4
    assert ("other requests failed", "3 of 10") in found.facts()


def test_a_box_is_back_with_its_first_answer_to_a_request_that_began_after_its_death() -> None:
    requests = [
        entry(99.0, f"{APP1}:8000"),
        entry(100.4, f"{APP1}:8000", seconds=0.5),  # answered just before it died, and logged after
        entry(100.5, f"{APP1}:8000, {APP2}:8000"),
        entry(101.0, f"{APP1}:8000", status=502),
        entry(104.5, f"{APP2}:8000, {APP1}:8000"),
        entry(109.0, f"{APP1}:8000"),
    ]
    assert kill.back_after(requests, APP1, 100.0) == 4.5
    assert kill.back_after(requests[:4], APP1, 100.0) is None


@pytest.mark.parametrize(
    ("found", "back", "limited", "held", "said"),
    [
        (Failures(900, 0, 100, 2), [4.2], [], True, "0 of 900 idempotent requests failed, 2 of 100 others"),
        (Failures(900, 0, 100, 0), [4.2], ["host with 1% idle CPU"], True, "traffic again after 4.2 s"),
        (Failures(900, 1, 100, 0), [4.2], [], False, "1 of 900"),
        (Failures(900, 1, 100, 0), [4.2], ["host with 1% idle CPU"], None, "host with 1% idle CPU"),
        (Failures(900, 0, 100, 0), [4.2, 10.1], [], False, "killed 2 times"),
        (Failures(900, 0, 100, 0), [4.2, None], [], False, "1 times not before the load ended"),
    ],
)
def test_a_kill_held_where_nobody_who_may_ask_again_noticed_and_the_box_came_back_in_time(
    found: Failures, back: list[float | None], limited: list[str], held: bool | None, said: str
) -> None:
    shown = kill.judge(found, back, 3, limited)
    assert shown.held is held
    assert said in shown.sentence


@pytest.mark.parametrize(
    ("found", "ok", "in_load", "held", "said"),
    [
        (Failures(900, 0, 100, 0), True, True, True, "0 of 1000 requests failed"),
        (Failures(900, 0, 100, 1), True, True, False, "1 of 1000 requests failed"),
        (Failures(900, 0, 100, 0), False, True, False, "itself failed"),
        (Failures(900, 0, 100, 0), True, False, None, "the load ended before"),
        (Failures(900, 2, 100, 0), True, False, False, "2 of 1000 requests failed"),
    ],
)
def test_a_restart_held_where_no_request_at_all_failed(
    found: Failures, ok: bool, in_load: bool, held: bool | None, said: str
) -> None:
    shown = restart.judge(found, [31.0], ok=ok, in_load=in_load, limited=[])
    assert shown.held is held
    assert said in shown.sentence


def test_apps_are_restarted_as_often_as_the_load_lasts() -> None:
    clock = iter([10.0, 40.0, 41.0, 71.0, 72.0, 102.0, 103.0, 133.0])
    kept: dict[str, Any] = {}

    class Going:
        """A load in which a restart takes 30 s."""

        result: dict[str, Any] = {"routes": {"GET /api/articles": {"sent": 10, "errors": {}}}}  # noqa: RUF012

        def __enter__(self) -> "Going":
            return self

        def __exit__(self, *_: object) -> None: ...

        def until(self, t: float) -> None: ...

        def note(self, _: str) -> float:
            return next(clock)

    stage: Any = SimpleNamespace(
        apps=list, load=lambda *_: Going(), command=lambda _: (0, "done"), keep=lambda _, **more: kept.update(more)
    )
    shape: Any = SimpleNamespace(p95=1, completed_rate=1, achieved=1, error_share=0)
    Going.result |= {"total": total(1.0, shape)}
    Going.result |= {"series": [{"in_flight": 0}], "generator": {"cpu_share": 0.1}, "host_idle": 0.5}
    shown = restart.run(stage, plan.FULL["restart"])
    assert [one["seconds"] for one in kept["restarts"]] == [30.0] * 3
    assert "3 times" in shown.sentence
    assert shown.held


def stretches(errors: int = 0) -> list[dict[str, Any]]:
    one = {"sent": 300, "errors": {}, "p95": 40.0, "completed_rate": 30.0, "offered_rate": 30.0}
    return [one, one | {"errors": {"status 503": errors} if errors else {}, "p95": 180.0}, one | {"p95": 45.0}]


COUNTED = [
    {"queries": 15.0, "hits": 45.0, "misses": 5.0},
    {"queries": 60.0, "hits": 0.0, "misses": 0.0},
    {"queries": 45.0, "hits": 10.0, "misses": 40.0},
    {"queries": 18.0, "hits": 42.0, "misses": 8.0},
]


@pytest.mark.parametrize(
    ("errors", "hits_after", "limited", "held"),
    [
        (0, 2.5, [], True),
        (1, 2.5, [], False),
        (0, None, [], False),
        (1, 2.5, ["generator at 90% of its CPU"], None),
    ],
)
def test_a_lost_cache_held_where_nobody_noticed_and_it_was_used_again(
    errors: int, hits_after: float | None, limited: list[str], held: bool | None
) -> None:
    shown = cache.judge(stretches(errors), COUNTED, hits_after, limited)
    assert shown.held is held
    if held is not None:
        assert "The cache gone for 10 s" in shown.sentence
        assert "p95 40 ms before, 180 ms without it, 45 ms after" in shown.sentence
    assert ("without the cache: queries a request, hits", "2.00, none") in shown.facts
    assert ("after: queries a request, hits", "0.60, 84 %") in shown.facts


def bursts(with_flight: float, without: float, status: str = "200") -> list[dict[str, Any]]:
    burst = {"statuses": {status: 500}, "most_in_flight": 500, "first_ms": 10.0, "last_ms": 1500.0}
    return [
        {
            "setting": setting,
            "what": "article",
            "one": {"queries": 2.0},
            "burst": burst | {"queries": asked},
        }
        for setting, asked in ((stampede.WITH, with_flight), (stampede.WITHOUT, without))
    ]


def test_a_stampede_held_where_a_key_is_filled_once_and_everybody_is_answered() -> None:
    shown = stampede.judge(bursts(2.0, 40.0))
    assert shown.held
    assert "article: filled 1 times with single flight, 20 without" in shown.sentence
    assert stampede.judge(bursts(4.0, 40.0)).held is False
    refused = stampede.judge(bursts(2.0, 40.0, status="503"))
    assert refused.held is False
    assert "1000 were not answered" in refused.sentence


def journey(waits: list[float], failed: int = 0) -> dict[str, Any]:
    return {"count": len(waits), "failed": failed, "waits_ms": waits}


DONE = {"state": "done", "seconds": 2.0}


@pytest.mark.parametrize(
    ("found", "covers", "before", "held", "said"),
    [
        (journey([900.0, 4000.0]), None, None, True, "answered within 4 000 ms (p95 of 2)"),
        (journey([200.0, 300.0]), [DONE, DONE], 4000.0, True, "4 000 ms, 13.3 times that"),
        (journey([200.0, 300.0]), [DONE, DONE], None, True, "the cover is there 2 000 ms later"),
        (journey([200.0, 1000.0]), [DONE, DONE], 4000.0, False, "4.0 times that"),
        (journey([200.0, 300.0], failed=1), [DONE, DONE], 4000.0, False, "13.3"),
        (journey([200.0, 300.0]), [DONE, {"state": "waiting", "seconds": 9.0}], 4000.0, False, "13.3"),
        (journey([]), [], 4000.0, None, "nobody published"),
    ],
)
def test_publishing_is_held_against_the_stage_before(
    found: dict[str, Any], covers: list[dict[str, Any]] | None, before: float | None, held: bool | None, said: str
) -> None:
    shown = publishing.judge(found, covers, before, [])
    assert shown.held is held
    assert said in shown.sentence


def test_publishing_is_compared_with_the_newest_run_that_is_alike(tmp_path: Path) -> None:
    run = record(capacity=100, stage=3) | {"settings": {"rate": 5}, "verdict": {"figures": {"p95": 4000.0}}}
    other = record(capacity=100, stage=3) | {"settings": {"rate": 9}, "verdict": {"figures": {"p95": 9000.0}}}
    for name, kept in (("1", run | {"verdict": {"figures": {"p95": 5000.0}}}), ("2", run), ("3", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(kept))
    (tmp_path / "4").mkdir()
    assert publishing._newest(run, tmp_path.iterdir()) == 4000.0
    assert publishing._newest(run | {"settings": {"rate": 1}}, tmp_path.iterdir()) is None


def tasks(**states: int) -> list[dict[str, Any]]:
    """Of each kind of task, so many in each state."""
    return [
        {"name": name, "state": state, "count": count, "retried": 1, "distinct": count}
        for name in queue.PROMISES.values()
        for state, count in states.items()
    ]


ANSWERED = {"cover": 9, "mail_followers": 10, "audience_report": 10}
MAIL = {"received": 500, "duplicates": 12, "twice": 0}


@pytest.mark.parametrize(
    ("answered", "found", "mail", "held", "said"),
    [
        (ANSWERED, tasks(done=10), MAIL, True, "30 tasks accepted, 30 done, 0 lost"),
        (ANSWERED, tasks(done=9, waiting=1), MAIL, False, "27 done, 0 lost, 3 still under way"),
        (ANSWERED, tasks(done=9, dead=1), MAIL, False, "3 lost"),
        (ANSWERED, tasks(done=9), MAIL, False, "2 lost"),
        (ANSWERED, tasks(done=10), MAIL | {"twice": 1}, False, "1 done twice in effect"),
        ({}, [], MAIL, None, "nothing was asked"),
    ],
)
def test_a_queue_held_where_every_promise_was_kept_once(
    answered: dict[str, int],
    found: list[dict[str, Any]],
    mail: dict[str, int],
    held: bool | None,
    said: str,
) -> None:
    faults = {"killed": 4, "restarted": 1}
    shown = queue.judge(answered, found, mail, 0, faults)
    assert shown.held is held
    assert said in shown.sentence
    assert queue.judge(answered, found, mail, 1, faults).held is (None if held is None else False)


def test_messages_that_somebody_has_twice_are_found_on_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        None: [{"number": 9, "to": ["a"], "text": "one"}, {"number": 8, "to": ["b"], "text": "one"}],
        8: [{"number": 7, "to": ["a"], "text": "one"}, {"number": 6, "to": ["a"], "text": "two"}],
        6: [],
    }
    monkeypatch.setattr(queue, "_mail", lambda _scene, before=None: {"messages": pages[before]})
    nowhere: Any = None
    assert queue._twice(nowhere) == 1


def test_a_worker_is_killed_while_it_makes_a_cover_where_that_can_be_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([[["0"]], [["0"]], [["1"]]])
    monkeypatch.setattr(queue, "ask", lambda *_: next(answers))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    nowhere: Any = None
    load: Any = SimpleNamespace(t=4.0)
    assert queue._at_work(nowhere, load, 5.0)
    assert not queue._at_work(nowhere, load, 4.0)


def test_a_worker_that_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([CannotError("does not run"), CannotError("does not run"), None])

    def kill(_: Any) -> None:
        if error := next(answers):
            raise error

    monkeypatch.setattr(harm, "kill", kill)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    nobody: Any = None
    queue._kill(nobody)
    assert next(answers, "all asked") == "all asked"


# The load that goes on meanwhile ----------------------------------------------------------------------------


class Telling:
    """Boxes whose one app counts ten queries each time that it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def metrics(self) -> dict[str, tuple[float, str]]:
        self.asked += 1
        return {"app1": (float(self.asked), f'conduit_database_seconds_count{{kind="read"}} {10 * self.asked}\n')}


@pytest.fixture
def driven(stub: Callable[..., str]) -> Iterator[Generator]:
    with Generator([sys.executable, str(HERE / "generate.py"), stub()], HERE.parent.parent) as generator:
        yield generator


def test_a_load_goes_on_while_things_are_done_and_says_when_they_were(driven: Generator) -> None:
    boxes: Any = Telling()
    wanted = {"mix": "browse", "warmup": 0.2, "profile": [[1.0, 50], [1.0, 50]]}
    with Load(driven, boxes, wanted) as load:
        load.count()
        load.until(0.5)
        assert not load.result
        load.note("something broke")
        load.count()
    assert load.events[0]["what"] == "something broke"
    assert 0.5 <= load.events[0]["t"] < 1.0
    assert load.counted[0]["queries"] == 10.0
    assert len(load.result["stretches"]) == 2


def test_a_load_that_cannot_go_on_ends_the_experiment(driven: Generator) -> None:
    driven._process.kill()
    boxes: Any = Telling()
    with pytest.raises(GeneratorError), Load(driven, boxes, {"mix": "browse", "profile": [[5, 10]]}):
        pass


def test_a_stage_that_lacks_what_is_broken_says_so() -> None:
    alone = SimpleNamespace(name="app", service="app", role="app", labels={})
    boxes: Any = SimpleNamespace(boxes=[alone], origin=lambda: None)
    nothing: Any = None
    stage: Any = SimpleNamespace(number=2)
    bare = scene.Scene(stage, boxes, nothing, nothing, print)
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
    result = {"series": series, "total": total(25.0, shape), "generator": {"cpu_share": 0.1}, "host_idle": 0.01}
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
    assert "take boxes of half the size" in text, "the host had 1 % idle CPU"


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
    monkeypatch.setattr(cli, "ready", lambda *_: (SimpleNamespace(), open(runs.parent / "held", "w")))  # noqa: SIM115
    monkeypatch.setattr(cli, "described", lambda *_: described)
    monkeypatch.setattr(topology, "read", lambda _: SimpleNamespace(number=3))
    monkeypatch.setattr(cli, "Run", lambda stage, name: Run(stage, name, runs))
