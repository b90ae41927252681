"""When experiments kill workers and for how long they freeze boxes; without a stage."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError
from requests import ReadTimeout

from loadtests.experiments import harm, plan, worker_queue
from loadtests.experiments.scene import CannotError


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
