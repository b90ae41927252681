"""Traffic mixes: what is asked for, in which shares, by whom.

The docstring of each module is its traffic model.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from loadtests.load.dataset import Dataset
from loadtests.load.mixes.actions import Request

NAMES = ("browse", "read-mostly", "pages", "publish", "feed", "login", "spike")
FIRST_RATE = 20.0

Draw = Callable[[], Request]
"""The next request of a mix's traffic."""


class UnknownMixError(Exception):
    """No mix of that name; the message lists those there are."""


@dataclass(frozen=True)
class Mix:
    """A named mix. ``factor`` multiplies the offered rate at a time in seconds since the start.

    1 but for a spike.
    """

    name: str
    model: str
    begin: Callable[[random.Random, Dataset, str], Draw]
    """Starts its traffic, from random numbers, the stage's rows and the URL of the stage. May raise SiteError."""
    requests_an_arrival: float
    """How many requests follow from one arrival, on average: more than 1 where people send another after an answer."""
    parts: tuple[str, ...]
    """What its requests belong to (see Request), and a trial can leave out."""
    factor: Callable[[float], float]
    first_rate: float
    """Requests/s that any stage should hold: a search for the ceiling starts there."""
    steady: bool
    """Whether the rate is constant, so that a ceiling can be searched with it."""


def _constantly(seconds: float) -> float:  # noqa: ARG001
    return 1.0


def _drawing(draw: Callable[[random.Random, Dataset], Request]) -> Callable[[random.Random, Dataset, str], Draw]:
    """For a mix each of whose requests is drawn by itself."""

    def begin(rng: random.Random, data: Dataset, target: str) -> Draw:  # noqa: ARG001 - it needs no look at the stage
        return lambda: draw(rng, data)

    return begin


def load(name: str) -> Mix:
    """The mix of that name. Raises UnknownMixError."""
    if name not in NAMES:
        raise UnknownMixError(f"there is no mix '{name}'; there are: {', '.join(NAMES)}")
    module = import_module(f"loadtests.load.mixes.{name.replace('-', '_')}")
    return Mix(
        name=name,
        model=(module.__doc__ or "").strip(),
        begin=getattr(module, "begin", None) or _drawing(module.draw),
        requests_an_arrival=getattr(module, "REQUESTS_AN_ARRIVAL", 1.0),
        parts=getattr(module, "PARTS", ("api",)),
        factor=getattr(module, "factor", _constantly),
        first_rate=getattr(module, "FIRST_RATE", FIRST_RATE),
        steady=not hasattr(module, "factor"),
    )


def steady() -> list[str]:
    """The names of the mixes that have a ceiling, because their rate is constant."""
    return [name for name in NAMES if load(name).steady]
