"""From a run's trials to why its ceiling is where it is."""

from collections.abc import Iterable, Mapping
from typing import Any

from loadtests.ceiling import demand


def at_ceiling(trials: list[dict[str, Any]], ceiling: float) -> list[dict[str, Any]]:
    """The confirmations that passed at the ceiling, in requests/s."""
    return [
        trial
        for trial in trials
        if trial["phase"] == "confirmation" and trial["rate"] == ceiling and trial["passed"] and trial["valid"]
    ]


def explain(
    trials: list[dict[str, Any]], capacity: Mapping[str, float], roles: Mapping[str, str], ceiling: float
) -> dict[str, Any]:
    """Demands and predictions for the record of a run, from the confirmations that passed at the ceiling.

    ``trials`` as in run.json, ``capacity`` in CPUs and ``roles`` of each box, ``ceiling`` in requests/s. Boxes of one
    role share its work, so they are one place where a request is served: doubled, it has twice as many of them.
    """
    passed = at_ceiling(trials, ceiling)
    rates = [trial["result"]["total"]["completed_rate"] for trial in passed]
    cpu = {name: sum(trial["boxes"][name]["cpu"] for trial in passed) / len(passed) for name in capacity}
    throughput = sum(rates) / len(rates)
    members: dict[str, list[str]] = {}
    for name in capacity:
        members.setdefault(roles[name], []).append(name)

    def of_role(values: Mapping[str, float]) -> dict[str, float]:
        return {role: sum(values[name] for name in names) for role, names in members.items()}

    found = demand.demands(of_role(cpu), of_role(capacity), throughput)
    programs = {role: _programs(passed, names, cpu) for role, names in members.items()}
    # At the ceiling itself a box has some CPU left: waits grow before it is used up. So look beyond, too.
    beyond = [trial["boxes"][name] for trial in trials if trial["rate"] >= ceiling for name in members[found[0].name]]
    saturated = any(demand.is_saturated(box) for box in beyond)
    # Two programs can have a box each only where they share the only one.
    split = demand.if_split(programs[found[0].name], ceiling) if saturated and len(capacity) == 1 else None
    return {
        "throughput": throughput,
        "boxes": [_demand_record(one, members[one.name], programs[one.name], throughput) for one in found],
        "saturates": found[0].name if saturated else None,
        "if_doubled": demand.predictions(found, ceiling) if saturated else {},
        "if_split": split,
    }


def _programs(trials: list[dict[str, Any]], boxes: Iterable[str], cpu: Mapping[str, float]) -> dict[str, float]:
    """CPUs by program, of some boxes together."""
    found: dict[str, float] = {}
    for name in boxes:
        shares = [trial["programs"][name] for trial in trials if name in trial["programs"]]
        for program in {program for one in shares for program in one}:
            share = sum(one.get(program, 0.0) for one in shares) / len(shares)
            found[program] = found.get(program, 0.0) + cpu[name] * share
    return found


def _demand_record(
    one: demand.Demand, boxes: list[str], programs: dict[str, float], throughput: float
) -> dict[str, Any]:
    return {
        "name": one.name,
        "boxes": boxes,
        "cpu": one.cpu,
        "capacity": one.capacity,
        "utilisation": one.utilisation,
        "per_request_ms": one.per_request_ms,
        "programs": {
            name: {"cpu": cpu, "per_request_ms": cpu / throughput * 1000}
            for name, cpu in sorted(programs.items(), key=lambda item: -item[1])
        },
    }
