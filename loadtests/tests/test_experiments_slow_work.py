"""What experiments with publishing and its slow work conclude from what they saw; without a stage."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtests.experiments import harm, publishing, queue
from loadtests.experiments.scene import CannotError
from loadtests.tests.runs import record


def journey(waits: list[float], failed: int = 0) -> dict[str, Any]:
    return {"count": len(waits), "failed": failed, "waits_ms": waits}


DONE = {"state": "done", "seconds": 2.0}


@pytest.mark.parametrize(
    ("found", "covers", "before", "held", "said"),
    [
        (journey([900.0, 4000.0]), None, None, True, "answered within 4 000 ms (p95 of 2)"),
        (journey([200.0, 300.0]), [DONE, DONE], 4000.0, True, "4 000 ms, 13.3 times that"),
        (journey([200.0, 300.0]), [DONE, DONE], None, None, "first: make stage3 experiment WHAT=publishing"),
        (journey([200.0, 1000.0]), [DONE, DONE], 4000.0, False, "4.0 times that"),
        (journey([200.0, 300.0], failed=1), [DONE, DONE], 4000.0, False, "13.3"),
        (journey([200.0, 300.0]), [DONE, {"state": "waiting", "seconds": 9.0}], 4000.0, False, "13.3"),
        (journey([200.0, 300.0], failed=1), [DONE, DONE], None, False, "1 failed"),
        (journey([]), [], 4000.0, None, "nobody published"),
    ],
)
def test_publishing_is_held_against_the_stage_before(
    found: dict[str, Any], covers: list[dict[str, Any]] | None, before: float | None, held: bool | None, said: str
) -> None:
    shown = publishing.judge(found, covers, before, [], 4)
    assert shown.held is held
    assert said in shown.sentence


def test_what_failed_is_told_on_a_busy_machine_too() -> None:
    assert publishing.judge(journey([200.0], failed=1), [DONE], 4000.0, ["the host was busy"], 4).held is False
    assert publishing.judge(journey([200.0]), [DONE], 4000.0, ["the host was busy"], 4).held is None


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
