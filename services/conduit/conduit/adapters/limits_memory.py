"""Limits counted in this process's memory: right for one app box, and the reason a second one shares them."""

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conduit.errors import TooManyError

# An account's known addresses are forgotten after so long without a sign-in.
KNOWN_SECONDS = 30 * 86_400


class MemoryLimits:
    """Sliding-window counters by account for writes, by address and by account for signing in and up.

    The account's limit does not hold for an address from which its owner has signed in: whoever guesses at a password
    elsewhere would lock the owner out.
    """

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
        if not self._knows(address, account):
            self._count(self._sign_in, "attempts to sign in to this account", "account", account)

    def signed_in(self, address: str, account: str) -> None:
        know(self._alone, address, account)

    def _knows(self, address: str, account: str) -> bool:
        return is_known(self._alone, address, account)

    def _count(self, limit: RateLimitItem, what: str, *identifiers: str) -> None:
        wait = self._wait(limit, *identifiers)
        if wait is not None:
            raise TooManyError(what, max(1, math.ceil(wait)))

    def _wait(self, limit: RateLimitItem, *identifiers: str) -> float | None:
        """Count; the seconds until the window is over, where the limit has been reached."""
        return counted(self._alone, limit, *identifiers)


def know(limiter: SlidingWindowCounterRateLimiter, address: str, account: str) -> None:
    limiter.storage.incr(_known(address, account), KNOWN_SECONDS)


def is_known(limiter: SlidingWindowCounterRateLimiter, address: str, account: str) -> bool:
    return limiter.storage.get(_known(address, account)) > 0


def _known(address: str, account: str) -> str:
    return f"known/{address}/{account}"


def counted(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, *identifiers: str) -> float | None:
    """None where this is within the limit, else the seconds until its window is over."""
    if limiter.hit(limit, *identifiers):
        return None
    return limiter.get_window_stats(limit, *identifiers).reset_time - time.time()
