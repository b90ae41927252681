"""Waiting for what a box does."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], seconds: float, pause: float = 1.0) -> bool:
    """Whether it holds within so many seconds. To ask in a box takes its CPU, hence the ``pause`` between."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
