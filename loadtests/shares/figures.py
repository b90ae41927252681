"""From the trials of a run to shares of each box's CPU, and to the time that publishing with a cover takes."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.load.summary import percentile

WHOLE = "whole"
IDLE = "at rest"
ALONE = "alone"
REST = "the rest"


def shares(trials: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Of each box, what share of its CPU under the whole mix goes to what.

    Each as the ``mean`` over all rounds, and the ``low`` and ``high`` of single ones. A part that was left out:
    (whole - without) / whole, of the two trials of a round. Slow work, by the app's own count: its CPU / whole.
    ``at rest``: what the box uses without any load. ``the rest``: what none of these explains; slow work inside a part
    that was left out counts once. A round that was interrupted does not count, nor does one with a
    trial that the generator or the host limited.
    """
    rounds: dict[int, dict[str, Mapping[str, Any]]] = {}
    for trial in trials:
        if trial["round"] is not None:
            rounds.setdefault(trial["round"], {})[trial["variant"]] = trial
    idle = next((trial for trial in trials if trial["variant"] == IDLE), None)
    most = max(map(len, rounds.values()), default=0)
    complete = [
        found
        for found in rounds.values()
        if WHOLE in found and len(found) == most and all(trial["valid"] for trial in found.values())
    ]
    boxes = list(complete[0][WHOLE]["boxes"]) if complete else []
    return {box: _of_box(box, complete, idle) for box in boxes}


def _of_box(
    box: str, rounds: Sequence[Mapping[str, Mapping[str, Any]]], idle: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    parts: dict[str, list[tuple[float, float]]] = {}
    # In any of the rounds: one in which nobody happened to ask for it counts as it is.
    asked_for = {
        name for variants in rounds for name, trial in variants.items() if _offered(trial) < _offered(variants[WHOLE])
    }
    for variants in rounds:
        whole = variants[WHOLE]
        cpu = whole["boxes"][box]["cpu"]
        used = {name: cpu - trial["boxes"][box]["cpu"] for name, trial in variants.items() if name in asked_for}
        tasks = whole["tasks"].get(box, {})
        if idle is not None:
            used[IDLE] = idle["boxes"][box]["cpu"]
        counted_once = {task: cpus for task, cpus in tasks.items() if task not in _inside(variants)}
        rest = cpu - sum(used.values()) - sum(counted_once.values())
        for name, cpus in {**used, **tasks, REST: rest}.items():
            parts.setdefault(name, []).append((cpus, cpu))
    return {name: _share(values) for name, values in parts.items()}


def _offered(trial: Mapping[str, Any]) -> int:
    """Requests of a trial's window. Those of a round have the same arrivals: as many without a part as with it mean
    that nobody asked for any of it, and what two such trials differ by is noise.
    """
    offered: int = trial["result"]["total"]["offered"]
    return offered


def _inside(variants: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Slow work that is part of what a variant left out."""
    return {"image"} if "covers made" in variants else set()


def journeys(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How long what people do one request after another took, when they were alone, and within the whole mix.

    Over all trials of either kind at the run's rate. Waits in ms; ``a_minute`` is how often they came;
    ``utilisation`` that of the busiest box, on average.
    """
    rows = []
    for variant in (ALONE, WHOLE):
        here = [trial for trial in trials if trial["variant"] == variant]
        for name in sorted({name for trial in here for name in trial["result"]["journeys"]}):
            found = [trial["result"]["journeys"][name] for trial in here if name in trial["result"]["journeys"]]
            waits = sorted(wait for one in found for wait in one["waits_ms"])
            busy = statistics.fmean(max(box["utilisation"] for box in trial["boxes"].values()) for trial in here)
            count = sum(one["count"] for one in found)
            rows.append(
                {
                    "name": name,
                    "among": variant,
                    "a_minute": 60 * count / sum(trial["result"]["seconds"] for trial in here),
                    "utilisation": busy,
                    "count": count,
                    "failed": sum(one["failed"] for one in found),
                    "p50": percentile(waits, 0.5),
                    "p95": percentile(waits, 0.95),
                    "max": waits[-1] if waits else None,
                }
            )
    return rows


def page_views(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Page views/s of the whole mix: each asks for one page's HTML. None where the mix has no pages."""
    rates = [
        sum(figures["offered_rate"] for route, figures in trial["result"]["routes"].items() if _is_page(route))
        for trial in trials
        if trial["variant"] == WHOLE and trial["round"] is not None
    ]
    return statistics.fmean(rates) if rates and max(rates) > 0 else None


def _is_page(route: str) -> bool:
    method, _, path = route.partition(" ")
    return method == "GET" and not path.startswith(("/api/", "/assets/", "/media/"))


def _share(of_whole: list[tuple[float, float]]) -> dict[str, float]:
    """Of CPUs used and the whole's CPUs in each round: the share over all rounds, and those of single ones."""
    shares = [used / whole for used, whole in of_whole]
    mean = sum(used for used, _ in of_whole) / sum(whole for _, whole in of_whole)
    return {"mean": mean, "low": min(shares), "high": max(shares)}
