"""From a run's trials to why its ceiling is where it is, and to what was to be expected before it was found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loadtests.ceiling import demand
from loadtests.ceiling.prediction import Model, Place, fitted

Trials = Sequence[Mapping[str, Any]]
Boxes = Sequence[Mapping[str, Any]]
"""As in run.json: name, role, ``cpus`` and ``period_us`` of each, and whether it works in the ``background``."""
# Of these, CPU and throughput are those of a stage that was warm and kept up.
STEADY = ("probe", "step", "bisection", "confirmation")
KEEPS_UP = 0.9


def at_ceiling(trials: Trials) -> list[Mapping[str, Any]]:
    """The confirmations: windows at the ceiling as it was known when each began."""
    return [trial for trial in trials if trial["phase"] == "confirmation" and trial["valid"]]


def before_confirmations(trials: Trials) -> list[Mapping[str, Any]]:
    """The trials before the first confirmation, in order."""
    phases = [trial["phase"] for trial in trials]
    return list(trials[: phases.index("confirmation")] if "confirmation" in phases else trials)


def foretold(trials: Trials, boxes: Boxes, passed: float, p95_ms: float) -> dict[str, Any] | None:
    """The ceiling that trials up to the rate that ``passed`` (requests/s) let expect, for the record of the run.

    Confirmations are left out, which it is to be held against. None where no trial was below.
    """
    model = model_of(trials, boxes, passed)
    if model is None:
        return None
    ceiling = model.ceiling(p95_ms)
    doubled = {role: model.doubled(role).ceiling(p95_ms) for role in model.places}
    return {
        "ceiling": ceiling,
        "lumps": model.lumps,
        "below": passed,
        # Twice as many boxes that nobody waits for change nothing.
        "if_doubled": dict.fromkeys(_members(boxes), ceiling) | doubled,
    }


def model_of(trials: Trials, boxes: Boxes, passed: float) -> Model | None:
    """The queueing model that fits the trials before the confirmations, its p95 those at rates up to ``passed``.

    It has the boxes that a request waits for.
    """
    before = _steady(before_confirmations(trials))
    if not before:
        return None
    places = {
        role: _place(members, demand.line(_points(before, [box["name"] for box in members])))
        for role, members in _members(boxes).items()
        if role not in _background(boxes)
    }
    totals = [trial["result"]["total"] for trial in before if trial["rate"] <= passed]
    return fitted(places, [(total["offered_rate"], total["p95"]) for total in totals if total["p95"]])


def _place(boxes: Boxes, line: demand.Line) -> Place:
    return Place(
        boxes=len(boxes),
        capacity=boxes[0]["cpus"],
        period=boxes[0]["period_us"] / 1e6,
        base=line.base,
        demand=line.slope,
    )


def explain(trials: Trials, boxes: Boxes, prediction: Mapping[str, Any] | None, p95_ms: float) -> dict[str, Any]:
    """Demands for the record of a run with confirmations, and what other boxes would give.

    ``prediction`` is what was ``foretold``. Boxes of one role share its work, so they are one place where a request is
    served: doubled, it has twice as many of them. Those that work in the background come last: they are not what
    saturates first, since requests go on as they did. ``behind`` are those of them that had no CPU left.
    """
    confirmations = at_ceiling(trials)
    throughput = sum(_throughput(trial) for trial in confirmations) / len(confirmations)
    members = {role: [box["name"] for box in some] for role, some in _members(boxes).items()}
    capacity = {role: sum(box["cpus"] for box in some) for role, some in _members(boxes).items()}
    steady = _steady(trials)
    points = {role: _points(steady, names) for role, names in members.items()}
    at = {role: _points(confirmations, names) for role, names in members.items()}
    cpu = {role: sum(used for _, used in found) / len(found) for role, found in at.items()}
    background = _background(boxes)
    found = sorted(demand.demands(cpu, capacity, points), key=lambda one: one.name in background)
    # At the ceiling itself a box has some CPU left: waits grow before it is used up. So look beyond, too.
    lowest = min(trial["rate"] for trial in confirmations)
    beyond = [trial for trial in trials if trial["rate"] >= lowest]
    saturated = _saturated(beyond, members[found[0].name])
    programs = {role: _programs(confirmations, names) for role, names in members.items()}
    split = None
    # Two programs can have a box each only where they share the only one.
    if prediction and saturated and len(boxes) == 1:
        model = model_of(trials, boxes, prediction["below"])
        apart = model.split(found[0].name, programs[found[0].name]) if model else None
        split = apart.ceiling(p95_ms) if apart else None
    return {
        "throughput": throughput,
        "boxes": [_record(one, members[one.name], programs[one.name], throughput) for one in found],
        "saturates": found[0].name if saturated else None,
        "behind": [role for role in members if role in background and _saturated(confirmations, members[role])],
        "if_doubled": dict(prediction["if_doubled"]) if prediction and saturated else {},
        "if_split": split,
    }


def _members(boxes: Boxes) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for box in boxes:
        found.setdefault(box["role"], []).append(box)
    return found


def _background(boxes: Boxes) -> set[str]:
    """The roles that no request waits for; older records do not tell them."""
    return {box["role"] for box in boxes if box.get("background")}


def _saturated(trials: Trials, names: Iterable[str]) -> bool:
    """Whether any of these boxes had no CPU left in any of the trials."""
    names = list(names)
    return any(demand.is_saturated(trial["boxes"][name]) for trial in trials for name in names)


def _steady(trials: Trials) -> list[Mapping[str, Any]]:
    return [trial for trial in trials if trial["phase"] in STEADY and trial["valid"] and _keeps_up(trial)]


def _keeps_up(trial: Mapping[str, Any]) -> bool:
    total = trial["result"]["total"]
    return bool(total["sent"]) and float(total["answered"]) >= KEEPS_UP * float(total["sent"])


def _throughput(trial: Mapping[str, Any]) -> float:
    return float(trial["result"]["total"]["completed_rate"])


def _points(trials: Trials, names: Iterable[str]) -> list[tuple[float, float]]:
    """(requests/s, CPUs of these boxes together) of each trial."""
    names = list(names)
    return [(_throughput(trial), sum(float(trial["boxes"][name]["cpu"]) for name in names)) for trial in trials]


def _programs(trials: Trials, names: Iterable[str]) -> dict[str, float]:
    """CPUs by program, of some boxes together: means over the trials in which they were told apart."""
    found: dict[str, float] = {}
    for name in names:
        told = [(trial["boxes"][name]["cpu"], trial["programs"][name]) for trial in trials if name in trial["programs"]]
        for cpu, shares in told:
            for program, share in shares.items():
                found[program] = found.get(program, 0.0) + cpu * share / len(told)
    return found


def _record(one: demand.Demand, boxes: list[str], programs: dict[str, float], throughput: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "boxes": boxes,
        "cpu": one.cpu,
        "capacity": one.capacity,
        "utilisation": one.utilisation,
        "base_cpu": one.line.base,
        "per_request_ms": one.per_request_ms,
        "error_ms": None if one.line.error is None else one.line.error * 1000,
        "r2": one.line.r2,
        "points": one.line.points,
        "programs": {
            name: {"cpu": cpu, "per_request_ms": cpu / throughput * 1000}
            for name, cpu in sorted(programs.items(), key=lambda item: -item[1])
        },
    }
