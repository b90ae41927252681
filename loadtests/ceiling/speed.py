"""The machine's speed from one trial of a run to the next, by the canary (loadtests/load/canary.py)."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Speed(NamedTuple):
    """The canary's CPU ns a hash: in the fastest slices, which tell the clock, and in the median one, which tells with
    whom the machine shares its processor, too.
    """

    fastest: float
    median: float


def faster(one: Speed, other: Speed) -> float:
    """By what share ``other`` is faster (slower: below zero) than ``one``: in both, or not at all.

    Where two CPUs are threads of one core, and a neighbour or the load itself has the other thread, the fastest slices
    go from 300 to 460 ns as soon as fewer than a twentieth are undisturbed, and come back; the median goes its own way.
    What a request costs follows neither alone. A machine that is slower is so in all slices.
    """
    shares = one.fastest / other.fastest - 1, one.median / other.median - 1
    if min(shares) > 0:
        return min(shares)
    return max(shares) if max(shares) < 0 else 0.0


class Speeds:
    """The speeds that a run has seen so far."""

    def __init__(self) -> None:
        self._seen: list[Speed] = []

    def tell(self, result: dict[str, Any]) -> None:
        """Note in a generator's result, and in each of its stretches, by what share the machine was faster (slower:
        below zero) than usual: ``speed_off``, against the medians of the run's trials so far, this one included.
        """
        if not (canary := result.get("canary")):
            return
        self._seen.append(_speed(canary))
        usually = _middle(self._seen)
        for window in (result, *result.get("stretches", ())):
            if found := window.get("canary"):
                window["speed_off"] = round(faster(usually, _speed(found)), 4)


def usual(trials: Iterable[Mapping[str, Any]]) -> Speed | None:
    """The speed over the trials of a run, as their medians; None where it was not kept."""
    found = [_speed(canary) for trial in trials if (canary := trial.get("result", {}).get("canary"))]
    return _middle(found) if found else None


def _speed(canary: Mapping[str, float]) -> Speed:
    return Speed(canary["ns"], canary["median"])


def _middle(speeds: Sequence[Speed]) -> Speed:
    return Speed(statistics.median(one.fastest for one in speeds), statistics.median(one.median for one in speeds))
