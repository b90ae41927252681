"""Traffic mixes: what is asked for, in which shares, by whom.

The docstring of each module is its traffic model.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from loadtests.dataset import Dataset
from loadtests.mixes.actions import Request

NAMES = ("browse", "publish", "feed", "login", "spike")
FIRST_RATE = 20.0


class UnknownMixError(Exception):
    """No mix of that name; the message lists those there are."""


@dataclass(frozen=True)
class Mix:
    """A named mix. ``factor`` multiplies the offered rate at a time in seconds since the start.

    1 but for a spike.
    """

    name: str
    model: str
    draw: Callable[[random.Random, Dataset], Request]
    factor: Callable[[float], float]
    first_rate: float
    """Requests/s that any stage should hold: a search for the ceiling starts there."""
    steady: bool
    """Whether the rate is constant, so that a ceiling can be searched with it."""


def _constantly(seconds: float) -> float:  # noqa: ARG001
    return 1.0


def load(name: str) -> Mix:
    """The mix of that name. Raises UnknownMixError."""
    if name not in NAMES:
        raise UnknownMixError(f"there is no mix '{name}'; there are: {', '.join(NAMES)}")
    module = import_module(f"loadtests.mixes.{name}")
    return Mix(
        name=name,
        model=(module.__doc__ or "").strip(),
        draw=module.draw,
        factor=getattr(module, "factor", _constantly),
        first_rate=getattr(module, "FIRST_RATE", FIRST_RATE),
        steady=not hasattr(module, "factor"),
    )
