"""What searches in turn leave, made up: a ceiling, a search's record, and the turns there and back."""

from typing import Any

from loadtests.ceiling.record import now
from loadtests.turns.figures import turn


def a_ceiling(rate: float, off: float = 1.0) -> dict[str, float]:
    """With an interval from ``rate / off`` to ``rate * off``."""
    return {"rate": rate, "low": rate / off, "high": rate * off}


def left_by(stage: int, rate: float, queries: float = 1.0, kept: float = 0.5, **more: Any) -> dict[str, Any]:
    """What a search leaves, as far as it is read: at 3x the load a quarter less is kept than at 2x."""
    return {
        "stage": stage,
        "started": now(),
        "why_incomplete": None,
        "machine": {"cores": 2, "memory": 8 << 30, "processor": "A CPU"},
        "mix": {"name": "browse"},
        "slo": {"p95_ms": 500.0},
        "boxes": [{"cpus": 0.125, "memory": 256 << 20, "period_us": 10_000}],
        "dataset": {"users": 1000, "articles": 10_000},
        "trials": [],
        "ceiling": {**a_ceiling(rate), "no_verdict": None},
        "a_request": {"queries": queries},
        "overload": {
            "over": [{"times": 2.0, "share": kept, "limits": []}, {"times": 3.0, "share": kept * 0.75, "limits": []}]
        },
    } | more


def turns_of(*runs: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn(run["stage"], run, f"{at}-stage{run['stage']}-browse") for at, run in enumerate(runs, 1)]


THERE_AND_BACK = (
    left_by(1, 40, 3.0, 0.1),
    left_by(2, 80, 1.0, 0.4),
    left_by(3, 160),
    left_by(3, 900),
    left_by(2, 225),
    left_by(1, 50),
)
