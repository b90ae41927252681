"""How long a search looks, and how often: the quick one, for teaching, and the full one."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How long and how often; ``resolution`` is the ratio of the lowest failed to the highest passed rate."""

    mode: str
    probe_rate: float
    first_step: float
    """The first step's share of the guess: low where the curve below the ceiling is wanted, too."""
    probe_seconds: float
    step_seconds: float
    step_warmup: float
    most_windows: int
    """Of ``step_seconds`` at one rate, in steps and bisection: then it is left undecided."""
    resolution: float
    confirmations: int
    """How many windows at the estimated ceiling there must be."""
    confirm_seconds: float
    confirm_warmup: float
    precise: float
    """Half of the interval's width, relative, that is good enough to end before the time is up."""
    search_seconds: float
    """Of trials, after which none is begun but the first confirmation."""
    overload_seconds: float
    recovery_seconds: float
    warm_seconds: float
    """Of reading what the stage caches, before the search; less where all of it is read sooner."""

    def settings(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


QUICK = Plan(
    mode="quick",
    probe_rate=20,
    first_step=0.8,
    probe_seconds=4,
    step_seconds=15,
    step_warmup=4,
    most_windows=2,
    resolution=1.15,
    confirmations=1,
    confirm_seconds=25,
    confirm_warmup=5,
    precise=0.05,
    search_seconds=140,
    overload_seconds=10,
    recovery_seconds=12,
    warm_seconds=40,
)
FULL = Plan(
    mode="full",
    probe_rate=20,
    first_step=0.45,
    probe_seconds=10,
    step_seconds=20,
    step_warmup=5,
    most_windows=3,
    resolution=1.08,
    confirmations=3,
    confirm_seconds=60,
    confirm_warmup=5,
    precise=0.03,
    search_seconds=690,
    overload_seconds=30,
    recovery_seconds=30,
    warm_seconds=60,
)
