"""Waiting for what another thread or process does, for no longer than a busy machine may take."""

import time
from collections.abc import Callable

MOST_SECONDS = 20.0
PAUSE_SECONDS = 0.005


def until(holds: Callable[[], object], otherwise: str) -> None:
    """Return as soon as it holds. Fails with ``otherwise`` where it does not in time."""
    deadline = time.monotonic() + MOST_SECONDS
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(PAUSE_SECONDS)
