"""What `make bench-box` does to boxes, and makes of what it measured."""

from types import SimpleNamespace
from typing import Any

import pytest

from infra.stage import topology
from infra.stage.problems import Problem
from loadtests.bench import box
from loadtests.bench.box import CANDIDATES, SHORT, WHOLE, Candidate, Trials, chosen
from loadtests.bench.box_figures import demand, fit, table
from loadtests.ceiling.sizes import kept
from loadtests.ceiling.verdict import Outcome
from loadtests.tests.runs import System

COST = {"whole": 0.002, "eighth": 0.004}


def _trial(name: str, rate: float, stage: int = 1, phase: str = "half", idle: float = 0.5) -> dict[str, Any]:
    """0.01 CPUs at rest and so much a request, on a machine that is a quarter faster than usual."""
    cpu = (0.01 + COST[name] * rate) / 1.25
    return {
        "candidate": name,
        "stage": stage,
        "phase": phase,
        "valid": True,
        "limits": ["host with 3% idle CPU"] if idle < 0.05 else [],
        "boxes": {"box": {"cpu": cpu, "throttled": 0.3}},
        "host": {"idle": idle},
        "result": {"total": {"completed_rate": rate, "p95": 100.0 + rate}, "speed_off": 0.25},
    }


def _run() -> dict[str, Any]:
    return {
        "machine": {"cores": 2},
        "candidates": [{"name": "whole", "cpus": 1.0}, {"name": "eighth", "cpus": 0.125}, {"name": "none", "cpus": 2}],
        "ceilings": {"whole": {"rate": 300, "low": 280, "high": 320}, "eighth": {"rate": 30, "low": 25, "high": 35}},
        "trials": [
            *(_trial("whole", rate) for rate in (100, 150, 300)),
            *(_trial("eighth", rate) for rate in (10, 15, 30)),
            _trial("eighth", 50, stage=3, phase="overload", idle=0.3),
        ],
    }


def test_a_request_costs_the_slope_at_the_usual_speed() -> None:
    found = demand(_run(), "eighth")
    assert found
    assert found.slope == pytest.approx(0.004)
    assert found.base == pytest.approx(0.01)
    assert demand(_run(), "none") is None


def test_busy_boxes_fit_where_they_were_and_where_cpu_was_left() -> None:
    trial = _trial("eighth", 50, idle=0.3) | {"boxes": {"app": {"cpu": 0.2}, "db": {"cpu": 0.1}}}
    assert fit(trial, cpus=0.125, cores=2) == pytest.approx((0.3 + 2 * 0.25) / 0.125)


def test_each_candidate_has_a_line_whatever_is_known_of_it() -> None:
    whole, eighth, none = table(_run()).splitlines()[3:]
    assert whole.split()[:2] == ["whole", "300"]
    assert "1.00" in whole
    assert "115 (110-130)" in eighth
    assert "4.00 +- 0.00 2.00" in " ".join(eighth.split())
    assert none.split() == ["none", *["-"] * 9]


def test_the_candidates_are_those_of_the_question() -> None:
    assert len({one.name for one in CANDIDATES}) == 13
    assert CANDIDATES[0] is WHOLE
    assert Candidate(0.125, 20, one_core=True).name == "0.125 CPU, 20 ms, one core"


def test_one_share_is_measured_beside_a_whole_core() -> None:
    assert chosen("") == CANDIDATES
    assert [one.name for one in chosen("0.1875")] == [
        "1 CPU, 10 ms",
        "0.1875 CPU, 10 ms",
        "0.1875 CPU, 20 ms",
        "0.1875 CPU, 10 ms, one core",
        "0.1875 CPU, 20 ms, one core",
    ]
    with pytest.raises(Problem, match=r"(?s)CPU=0\.2 .*make bench-box CPU=0\.125") as told:
        box.main(quick=True, share="0.2")
    assert told.value.status == 2


class _Container:
    def __init__(self, name: str) -> None:
        self.name = name
        self.attrs = {"HostConfig": {"CpuPeriod": 10_000, "CpuQuota": 2_500, "CpusetCpus": ""}}
        self.sizes: list[tuple[int, int, str]] = []

    def update(self, cpu_period: int, cpu_quota: int, cpuset_cpus: str) -> None:
        self.sizes.append((cpu_period, cpu_quota, cpuset_cpus))


def test_boxes_have_another_size_meanwhile_and_each_its_core_in_the_order_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["app1", "cache", "lb"]
    containers = {name: _Container(name) for name in names}
    boxes: Any = SimpleNamespace(
        info={"NCPU": 2},
        boxes=[SimpleNamespace(service=name, container=one, quota=0.25) for name, one in containers.items()],
    )
    monkeypatch.setattr(topology, "read", lambda _stage: SimpleNamespace(boxes=["lb", "app1", "cache"]))
    monkeypatch.setattr(box, "Bench", lambda *_: None)
    rig: Any = SimpleNamespace(boxes=boxes)
    silent: Any = SimpleNamespace(say=lambda _text: None)
    run: Any = None
    with kept(boxes):
        trials = Trials(3, rig, run, silent)
        trials.take(Candidate(0.125, 20, one_core=True))
        trials.take(Candidate(0.1875, 10))
    assert {name: one.sizes[0][2] for name, one in containers.items()} == {"lb": "0", "app1": "1", "cache": "0"}
    expected = [(10_000, 1_875, "0-1"), (10_000, 2_500, "0-1")]
    assert all(one.sizes[0][:2] == (20_000, 2_500) and one.sizes[1:] == expected for one in containers.values())
    assert {one.quota for one in boxes.boxes} == {0.1875}


class _MadeUp:
    """In the place of Trials: stage 1's box takes 10 ms a request, stage 3's busiest a third of that."""

    def __init__(self, cost: float) -> None:
        self.done: list[tuple[str, int | None, str, float]] = []
        self._cost = cost
        self._taken: tuple[Candidate, int | None] = (WHOLE, None)

    def take(self, candidate: Candidate, place: int | None = None) -> None:
        self._taken = candidate, place

    def trial(self, phase: str, rate: float, seconds: float, warmup: float) -> Outcome:
        candidate, place = self._taken
        self.done.append((candidate.name, place, phase, rate))
        return System(candidate.cpus / self._cost).trial(phase, rate, seconds, warmup)


def test_each_is_loaded_by_its_own_ceiling_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = SimpleNamespace(data={"ceilings": {}})
    rig: Any = None
    silent: Any = SimpleNamespace(say=lambda _text: None)
    alone: Any = _MadeUp(0.010)
    box._alone(alone, CANDIDATES, SHORT, run, rig, silent)
    assert all(60 * one.cpus < run.data["ceilings"][one.name]["rate"] < 105 * one.cpus for one in CANDIDATES)
    halves = [one for one in alone.done if one[2] == "half"]
    assert [name for name, *_ in halves[: len(CANDIDATES)]] == [one.name for one in CANDIDATES]
    assert halves[len(CANDIDATES)][:2] == (CANDIDATES[1].name, 1), "the next round begins with the next one"
    assert all(rate == run.data["ceilings"][name]["rate"] / 2 for name, _, _, rate in halves)

    warmed: list[float] = []
    monkeypatch.setattr(box, "warm", lambda _rig, seconds: warmed.append(seconds))
    run.data["ceilings"][CANDIDATES[1].name] = {"rate": None}
    many: Any = _MadeUp(0.010 / 3)
    box._many(many, CANDIDATES, SHORT, run, rig, silent)
    assert warmed == [SHORT.search.warm_seconds], "before the first of them"
    assert {name for name, *_ in many.done} == {one.name for one in CANDIDATES[2:]}
    rates = {(name, phase): rate for name, _, phase, rate in many.done}
    for one in CANDIDATES[2:]:
        assert rates[one.name, "full"] == pytest.approx(0.85 * 300 * one.cpus)
        assert rates[one.name, "overload"] == 3 * rates[one.name, "full"] == 6 * rates[one.name, "half"]


def test_the_short_form_ends_within_half_an_hour() -> None:
    """By what it plans: a search may be as long as its plan, and a confirmation more."""
    plan, many = SHORT.search, len(CANDIDATES) - 1
    search = plan.search_seconds + plan.confirm_seconds + plan.confirm_warmup
    halves = SHORT.rounds * (SHORT.half_seconds + SHORT.warmup)
    one = plan.probe_seconds + 3 * SHORT.many_seconds + 4 * SHORT.warmup
    assert len(CANDIDATES) * (search + halves) + SHORT.many_rounds * many * one < 30 * 60
