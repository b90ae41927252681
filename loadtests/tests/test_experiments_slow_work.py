"""What experiments with publishing and its slow work conclude from what they saw; without a stage."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.experiments import publishing, worker_queue
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
        (journey([200.0, 300.0]), [DONE], 4000.0, False, "1 covers were never made"),
        (journey([200.0, 300.0]), [], 4000.0, False, "2 covers were never made"),
        (journey([200.0, 300.0]), [DONE, DONE, {"state": "dead", "seconds": 9.0}], 4000.0, False, "1 covers were"),
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


def held_at(p95: float) -> dict[str, Any]:
    return {"held": True, "figures": {"p95": p95}}


def done_in(ns: float) -> list[dict[str, Any]]:
    """Loads during which the machine did the canary's work in so many ns."""
    return [{"result": {"canary": {"ns": ns, "median": 2 * ns}}}]


def test_publishing_is_compared_with_the_newest_run_that_is_alike(tmp_path: Path) -> None:
    run = record(capacity=100, stage=3) | {"settings": {"rate": 5}, "verdict": held_at(4000.0)}
    run["trials"] = done_in(300.0)
    newer: list[dict[str, Any]] = [
        {"settings": {"rate": 9}},
        {"dataset": run["dataset"] | {"users": 10_000}},
        {"machine": run["machine"] | {"processor": "Another CPU"}},
        {"machine": run["machine"] | {"cores": 4}},
        {"machine": run["machine"] | {"memory": 1 << 30}},
        {"machine": run["machine"] | {"kernel": "another"}},
        {"trials": done_in(400.0)},
        {"trials": []},
        {"boxes": [box | {"cpus": 0.125} for box in run["boxes"]]},
        {"complete": False},
        {"verdict": held_at(9000.0) | {"held": None}},
        {"verdict": held_at(9000.0) | {"held": False}},
    ]
    unlike = [run | {"verdict": held_at(9000.0)} | changes for changes in newer]
    for number, kept in enumerate([run | {"verdict": held_at(5000.0)}, run, *unlike]):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "run.json").write_text(json.dumps(kept))
    (tmp_path / "99").mkdir()
    assert publishing._newest(run, tmp_path.iterdir()) == 4000.0
    assert publishing._newest(run | {"settings": {"rate": 1}}, tmp_path.iterdir()) is None
    grown = {what: 1 + count for what, count in run["dataset"].items()}
    assert publishing._newest(run | {"dataset": grown}, tmp_path.iterdir()) == 4000.0, "as by people who try the stage"
    slower = run | {"trials": done_in(310.0)}
    assert publishing._newest(slower, tmp_path.iterdir()) == 4000.0, "no machine is as fast from one minute to the next"


def tasks(**states: int) -> list[dict[str, Any]]:
    """Of each kind of task, so many in each state."""
    return [
        {"name": name, "state": state, "count": count, "retried": 1, "distinct": count}
        for name in worker_queue.PROMISES.values()
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
    shown = worker_queue.judge(answered, found, mail, 0, faults)
    assert shown.held is held
    assert said in shown.sentence
    assert worker_queue.judge(answered, found, mail, 1, faults).held is (None if held is None else False)


def test_without_mail_that_was_tried_again_there_is_no_verdict_on_mail() -> None:
    untried = [one | ({"retried": 0} if one["name"] == "mail_followers" else {}) for one in tasks(done=10)]
    shown = worker_queue.judge(ANSWERED, untried, MAIL, 0, {"killed": 20})
    assert shown.held is None
    assert "1 covers and no mailings" in shown.sentence
    assert "not seen whether one that is gets to anybody twice" in shown.sentence
    # The short form has too few kills for that; what it says of the rest, and that it saw nothing of this, is the same.
    short = worker_queue.judge(ANSWERED, untried, MAIL, 0, {"killed": 4}, mail_at_risk=False)
    assert short.held
    assert "1 covers and no mailings" in short.sentence
    # What went wrong did, whether mail was at risk or not.
    assert worker_queue.judge(ANSWERED, untried, MAIL, 1, {"killed": 20}).held is False


def test_what_was_tried_again_is_told_by_kind() -> None:
    shown = worker_queue.judge(ANSWERED, tasks(done=9, running=1), MAIL, 0, {"killed": 20})
    assert shown.figures["retried"] == {"covers": 2, "mailings": 2, "reports": 2}
    assert ("begun more than once", "covers: 2, mailings: 2, reports: 2") in shown.facts
    assert "Tried again: 2 covers and 2 mailings." in shown.sentence


def test_messages_that_somebody_has_twice_are_found_on_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        None: [{"number": 9, "to": ["a"], "text": "one"}, {"number": 8, "to": ["b"], "text": "one"}],
        8: [{"number": 7, "to": ["a"], "text": "one"}, {"number": 6, "to": ["a"], "text": "two"}],
        6: [],
    }
    monkeypatch.setattr(worker_queue, "_mail", lambda _scene, before=None: {"messages": pages[before]})
    nowhere: Any = None
    assert worker_queue._twice(nowhere) == 1
