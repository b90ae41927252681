"""The browse mix with spikes: 30 s at the offered rate, 20 s at ten times it, then back, and so on.

A minute and a half a round: 30 s before, 20 s of spike, 40 s to recover in. Offer a rate well below the
ceiling and watch whether the waits go back to what they were.
"""

from loadtests.load.mixes.browse import draw

__all__ = ["draw", "factor"]

BEFORE = 30.0
SPIKE = 20.0
AFTER = 40.0
TIMES = 10.0


def factor(seconds: float) -> float:
    """By what the offered rate is multiplied so many seconds after the start."""
    into = seconds % (BEFORE + SPIKE + AFTER)
    return TIMES if BEFORE <= into < BEFORE + SPIKE else 1.0
