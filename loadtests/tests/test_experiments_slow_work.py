"""What experiments with publishing and its slow work conclude from what they saw; without a stage."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError
from requests import ReadTimeout

from loadtests.experiments import harm, plan, publishing, worker_queue
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


class Worker:
    """A worker that is frozen for each look, at what is given; whether it was frozen as it was killed."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *looks: list[list[str]] | CannotError, up_at: float = 0
    ) -> None:
        self.clock = 0.0
        self.looks = list(looks)
        self.frozen = False
        self.killed_at: float | None = None
        container = SimpleNamespace(attrs={"Config": {"Hostname": "c0ffee"}})
        self.box: Any = SimpleNamespace(name="worker", container=container)
        monkeypatch.setattr(time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(harm, "healthy", lambda _: self.clock >= up_at)
        monkeypatch.setattr(harm, "frozen", self._freeze)
        monkeypatch.setattr(harm, "kill", self._kill)
        monkeypatch.setattr(worker_queue, "ask", self._ask)

    def dies(self, name: str, patience: float, left: set[tuple[str, ...]] | None = None) -> list[str]:
        nowhere: Any = None
        return worker_queue._kill(nowhere, self.box, name, patience, set() if left is None else left)

    def _sleep(self, seconds: float) -> None:
        self.clock += seconds

    @contextmanager
    def _freeze(self, _: Any) -> Iterator[None]:
        if isinstance(self.looks[0], CannotError):
            raise self.looks.pop(0)  # type: ignore[misc]  # asked for above
        self.frozen = True
        yield
        self.frozen = False

    def _ask(self, _: Any, sql: str) -> list[list[str]]:
        assert "worker = 'c0ffee'" in sql, "not what another worker is at"
        assert self.frozen
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        assert not isinstance(look, CannotError)
        return look

    def _kill(self, _: Any) -> None:
        assert self.frozen
        self.killed_at = self.clock


COVER, MAILING = ["cover", "cover-1", "1"], ["mail_followers", "mail-1-0", "1"]


def test_a_worker_is_killed_at_what_is_to_be_at_risk_where_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch, [], [COVER], [MAILING])
    assert worker.dies("mail_followers", patience=5.0) == ["mail_followers"]
    assert worker.killed_at == pytest.approx(2 * worker_queue.BETWEEN_LOOKS)
    assert not worker.frozen


@pytest.mark.parametrize(("look", "at"), [([COVER], ["cover"]), ([], [])])
def test_it_is_killed_at_whatever_it_is_at_where_that_does_not_come(
    monkeypatch: pytest.MonkeyPatch, look: list[list[str]], at: list[str]
) -> None:
    worker = Worker(monkeypatch, look)
    assert worker.dies("mail_followers", patience=2.5) == at
    assert worker.killed_at == pytest.approx(2.5, abs=2 * worker_queue.BETWEEN_LOOKS)


def test_what_an_earlier_kill_ended_is_nothing_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    again = [*MAILING[:2], "2"]
    left: set[tuple[str, ...]] = set()
    Worker(monkeypatch, [MAILING]).dies("mail_followers", 2.5, left)
    worker = Worker(monkeypatch, [MAILING], [MAILING], [again])
    worker.dies("mail_followers", 2.5, left)
    assert worker.killed_at == pytest.approx(2 * worker_queue.BETWEEN_LOOKS)
    assert left == {tuple(MAILING), tuple(again)}


def test_a_worker_that_is_not_up_yet_is_let_be_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch, [COVER], up_at=2.0)
    worker.dies("cover", patience=6.0)
    assert worker.killed_at == pytest.approx(2.0, abs=2 * worker_queue.BETWEEN_LOOKS)
    gone = Worker(monkeypatch, CannotError("does not run"), CannotError("does not run"), [], up_at=99.0)
    assert gone.dies("cover", patience=1.0) == []
    assert gone.killed_at == pytest.approx(1.0 + 2 * worker_queue.BETWEEN_LOOKS, abs=2 * worker_queue.BETWEEN_LOOKS)


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_kills_are_at_covers_and_at_mail_in_turns(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    asked_for: list[str] = []
    kept: dict[str, Any] = {}

    def kill(_scene: Any, _worker: Any, name: str, *_: Any) -> list[str]:
        asked_for.append(name)
        return [name]

    class Going:
        """A load in which nothing is answered."""

        result: dict[str, Any] = {"routes": {}}  # noqa: RUF012
        events: list[dict[str, Any]] = []  # noqa: RUF012

        def __enter__(self) -> "Going":
            return self

        def __exit__(self, *_: object) -> None: ...

        def until(self, t: float) -> None: ...

        def note(self, what: str) -> None: ...

    monkeypatch.setattr(worker_queue, "_kill", kill)
    monkeypatch.setattr(worker_queue, "_mail", lambda _: {"received": 0, "duplicates": 0})
    monkeypatch.setattr(worker_queue, "_twice", lambda _: 0)
    monkeypatch.setattr(worker_queue, "_settled", lambda *_: [])
    monkeypatch.setattr(worker_queue, "ask", lambda *_: [["0"]])
    monkeypatch.setattr(harm, "restart", lambda *_, **__: None)
    stage: Any = SimpleNamespace(
        queued=lambda: [SimpleNamespace(name="worker")],
        service=lambda _: None,
        load=lambda *_: Going(),
        keep=lambda _, **more: kept.update(more),
        also=lambda **more: kept.update(more),
    )
    form = {"quick": plan.QUICK, "full": plan.FULL}[mode]["queue"]
    shown = worker_queue.run(stage, form)
    each = form.times * (worker_queue.BROKER_EVERY - 1) // worker_queue.BROKER_EVERY // 2
    assert Counter(asked_for) == {"cover": each, "mail_followers": each}
    assert asked_for[:2] == ["mail_followers", "cover"]
    assert kept["at_work"] == {"cover": each, "mail_followers": each}
    assert f"{each} times killed while at mailings" in dict(shown.facts)["faults"]


class Container:
    """Docker's view of a box that is paused, and of what becomes of it."""

    def __init__(self, dies: bool = False, stuck: bool = False) -> None:
        self.paused, self.dies, self.stuck = False, dies, stuck
        self.attrs: dict[str, Any] = {}

    def pause(self) -> None:
        if self.paused:
            raise APIError("already paused")
        self.paused = True

    def unpause(self) -> None:
        if self.stuck or self.dies:
            raise APIError("cannot")
        self.paused = False

    def reload(self) -> None:
        self.attrs = {"State": {"Paused": self.paused and not self.dies}}


def test_a_box_is_frozen_no_longer_than_it_is_looked_at() -> None:
    container = Container()
    box: Any = SimpleNamespace(name="worker", container=container)

    def look() -> None:
        with harm.frozen(box):
            assert container.paused
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert not container.paused


def test_a_box_that_dies_frozen_need_not_be_thawed_and_one_that_stays_so_is_told() -> None:
    dead: Any = SimpleNamespace(name="worker", container=Container(dies=True))
    with harm.frozen(dead):
        pass
    stuck: Any = SimpleNamespace(name="worker", container=Container(stuck=True))
    with pytest.raises(CannotError, match="still frozen"), harm.frozen(stuck):
        pass
    assert stuck.container.paused
    stuck.container.stuck = False
    with pytest.raises(CannotError, match="could not be frozen: already paused"), harm.frozen(stuck):
        pass
    assert not stuck.container.paused, "the next who looks thaws it first"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ReadTimeout("no answer within 60 s")])
def test_a_box_that_was_frozen_though_nobody_was_told_is_thawed(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    container = Container()
    box: Any = SimpleNamespace(name="worker", container=container)

    def pause() -> None:
        container.paused = True
        raise error

    monkeypatch.setattr(container, "pause", pause)
    with pytest.raises((KeyboardInterrupt, CannotError)), harm.frozen(box):
        pass
    assert not container.paused
