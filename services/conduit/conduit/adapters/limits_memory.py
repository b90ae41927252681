"""Limits counted in this process's memory: right for one app box, and the reason a second one shares them."""

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conduit.errors import TooManyError


class MemoryLimits:
    """Sliding-window counters by account for writes, by address and by account for signing in and up."""

    def __init__(self, write: RateLimitItem, sign_in: RateLimitItem) -> None:
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._write = write
        self._sign_in = sign_in

    def close(self) -> None:
        """Nothing is open."""

    def count_write(self, account: str) -> None:
        self._count(self._write, "writes", "write", account)

    def count_sign_in(self, address: str, account: str) -> None:
        self._count(self._sign_in, "attempts to sign in or up from this address", "address", address)
        self._count(self._sign_in, "attempts to sign in to this account", "account", account)

    def _count(self, limit: RateLimitItem, what: str, *identifiers: str) -> None:
        wait = self._wait(limit, *identifiers)
        if wait is not None:
            raise TooManyError(what, max(1, math.ceil(wait)))

    def _wait(self, limit: RateLimitItem, *identifiers: str) -> float | None:
        """Count; the seconds until the window is over, where the limit has been reached."""
        return counted(self._alone, limit, *identifiers)


def counted(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, *identifiers: str) -> float | None:
    """None where this is within the limit, else the seconds until its window is over."""
    if limiter.hit(limit, *identifiers):
        return None
    return limiter.get_window_stats(limit, *identifiers).reset_time - time.time()
