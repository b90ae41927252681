"""Waiting for what another thread or process does, for no longer than a busy machine may take."""

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.005


def until(holds: Callable[[], object], otherwise: str, *, within: float = 5.0) -> None:
    """Return as soon as it holds. Fails with ``otherwise`` where it does not ``within`` so many seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(PAUSE_SECONDS)
