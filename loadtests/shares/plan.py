"""What is measured of each mix, how long and how often."""

from dataclasses import asdict, dataclass
from typing import Any

# The busiest box's utilisation at the rate of the trials: so much that what it spends shows, and so little that no
# queue changes what a request costs. An upload keeps a box busy for seconds, so there is a queue sooner.
MODERATE = {"pages": 0.5, "publish": 0.3}
# Parts of the mix that are left out together, by what they are called.
LEFT_OUT: dict[str, dict[str, list[str]]] = {
    "pages": {"HTML and assets": ["html", "assets"], "covers served": ["covers"]},
    "publish": {"covers made": ["cover"]},
}
# What is left out so that those who send one request after another are alone.
OTHERS: dict[str, list[str]] = {"publish": ["api", "report"]}
MIXES = tuple(LEFT_OUT)


@dataclass(frozen=True)
class Plan:
    """Seconds and numbers of trials. ``rounds`` each have one trial of the whole mix and one without each part."""

    mode: str
    probe_seconds: float
    idle_seconds: float
    rounds: int
    seconds: float
    alone_seconds: float = 0.0
    """Of one trial of nothing but what people do one request after another, as often as at a light rate of the mix."""
    warmup: float = 2.0

    def settings(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


QUICK = {
    "pages": Plan("quick", probe_seconds=5, idle_seconds=5, rounds=2, seconds=10),
    "publish": Plan("quick", probe_seconds=5, idle_seconds=5, rounds=2, seconds=25, alone_seconds=30),
}
FULL = {
    "pages": Plan("full", probe_seconds=10, idle_seconds=20, rounds=5, seconds=20),
    "publish": Plan("full", probe_seconds=20, idle_seconds=20, rounds=5, seconds=50, alone_seconds=300),
}


def order(variants: list[str], rounds: int) -> list[tuple[int, str]]:
    """Rounds of the variants, each round begun by the next one: what drifts touches all of them alike."""
    return [
        (turn, variants[(turn + place) % len(variants)]) for turn in range(rounds) for place in range(len(variants))
    ]
