"""Waiting for what another thread, process or box does, for no longer than a busy machine may take."""

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.005


def until(
    holds: Callable[[], object],
    otherwise: str | Callable[[], object],
    *,
    within: float = 5.0,
    pause: float = PAUSE_SECONDS,
    not_yet: tuple[type[Exception], ...] = (),
) -> float:
    """Return as soon as it holds, and after how many seconds that was.

    Fails with ``otherwise``, or what that returns, where it does not ``within`` so many seconds. An error of the kinds
    in ``not_yet`` counts as not holding.
    """
    started = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - started
        except not_yet:
            pass
        waited = time.monotonic() - started
        assert waited < within, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(pause)
