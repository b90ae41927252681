"""The machine's speed from one trial of a run to the next, by the canary (loadtests/load/canary.py)."""

import statistics
from typing import Any


class Speeds:
    """The speeds that a run has seen so far."""

    def __init__(self) -> None:
        self._seen: list[float] = []

    def tell(self, result: dict[str, Any]) -> None:
        """Note in a generator's result, and in each of its stretches, by what share the machine was faster (slower:
        below zero) than usual: ``speed_off``, against the median of the run's trials so far, this one included.
        """
        if not (canary := result.get("canary")):
            return
        self._seen.append(canary["ns"])
        usual = statistics.median(self._seen)
        for window in (result, *result.get("stretches", ())):
            if found := window.get("canary"):
                window["speed_off"] = round(usual / found["ns"] - 1, 4)


def usual(trials: list[dict[str, Any]]) -> float | None:
    """The canary's ns a hash over the trials of a run, as their median; None where it was not kept."""
    found = [canary["ns"] for trial in trials if (canary := trial.get("result", {}).get("canary"))]
    return statistics.median(found) if found else None
