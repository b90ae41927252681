"""From the trials of a run to shares of each box's CPU, and to the time that publishing with a cover takes."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.summary import percentile

WHOLE = "whole"
IDLE = "at rest"
ALONE = "alone"


def shares(trials: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Of each box, what share of its CPU under the whole mix goes to what.

    Each as ``mean``, ``low`` and ``high`` of the rounds. A part that was left out: (whole - without) / whole, of the
    two trials of a round. Slow work, by the app's own count: its CPU / whole. ``at rest``: what the box uses without
    any load. ``the rest``: what none of these explains; slow work inside a part that was left out counts once.
    """
    rounds: dict[int, dict[str, Mapping[str, Any]]] = {}
    for trial in trials:
        if trial["round"] is not None:
            rounds.setdefault(trial["round"], {})[trial["variant"]] = trial
    idle = next((trial for trial in trials if trial["variant"] == IDLE), None)
    complete = [found for found in rounds.values() if WHOLE in found]
    boxes = list(complete[0][WHOLE]["boxes"]) if complete else []
    return {box: _of_box(box, complete, idle) for box in boxes}


def _of_box(
    box: str, rounds: Sequence[Mapping[str, Mapping[str, Any]]], idle: Mapping[str, Any] | None
) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {}
    for variants in rounds:
        whole = variants[WHOLE]
        cpu = whole["boxes"][box]["cpu"]
        explained = 0.0
        for name, trial in variants.items():
            if name != WHOLE:
                part = (cpu - trial["boxes"][box]["cpu"]) / cpu
                found.setdefault(name, []).append(part)
                explained += part
        for task, used in whole["tasks"].get(box, {}).items():
            found.setdefault(task, []).append(used / cpu)
            if task not in _inside(variants):
                explained += used / cpu
        if idle is not None:
            found.setdefault(IDLE, []).append(idle["boxes"][box]["cpu"] / cpu)
            explained += found[IDLE][-1]
        found.setdefault("the rest", []).append(1 - explained)
    return {name: _spread(values) for name, values in found.items()}


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


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values)}
