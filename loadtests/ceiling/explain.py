"""From a run's trials to why its ceiling is where it is."""

from typing import Any

from loadtests.ceiling import demand


def explain(trials: list[dict[str, Any]], capacity: dict[str, float], ceiling: float) -> dict[str, Any]:
    """Demands and predictions for the record of a run, from the confirmations that passed at the ceiling.

    ``trials`` as in run.json, ``capacity`` in CPUs of each box, ``ceiling`` in requests/s.
    """
    at_ceiling = [
        trial
        for trial in trials
        if trial["phase"] == "confirmation" and trial["rate"] == ceiling and trial["passed"] and trial["valid"]
    ]
    rates = [trial["result"]["total"]["completed_rate"] for trial in at_ceiling]
    cpu = {name: sum(trial["boxes"][name]["cpu"] for trial in at_ceiling) / len(at_ceiling) for name in capacity}
    throughput = sum(rates) / len(rates)
    found = demand.demands(cpu, capacity, throughput)
    programs: dict[str, dict[str, float]] = {}
    for name in capacity:
        shares = [trial["programs"][name] for trial in at_ceiling if name in trial["programs"]]
        names = {program for one in shares for program in one}
        programs[name] = {
            program: cpu[name] * sum(one.get(program, 0.0) for one in shares) / len(shares) for program in names
        }
    # At the ceiling itself a box has some CPU left: waits grow before it is used up. So look beyond, too.
    beyond = [trial["boxes"][found[0].name] for trial in trials if trial["rate"] >= ceiling]
    saturated = any(box["utilisation"] >= demand.SATURATED or box["throttled"] >= demand.THROTTLED for box in beyond)
    split = demand.if_split(programs[found[0].name], ceiling) if saturated else None
    return {
        "throughput": throughput,
        "boxes": [_demand_record(one, programs.get(one.name, {}), throughput) for one in found],
        "saturates": found[0].name if saturated else None,
        "if_doubled": demand.predictions(found, ceiling) if saturated else {},
        "if_split": split,
    }


def _demand_record(one: demand.Demand, programs: dict[str, float], throughput: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "cpu": one.cpu,
        "capacity": one.capacity,
        "utilisation": one.utilisation,
        "per_request_ms": one.per_request_ms,
        "programs": {
            name: {"cpu": cpu, "per_request_ms": cpu / throughput * 1000}
            for name, cpu in sorted(programs.items(), key=lambda item: -item[1])
        },
    }
