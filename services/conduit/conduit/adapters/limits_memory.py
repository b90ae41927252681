"""Limits counted in this process's memory: right for one app box, and the reason a second one shares them."""

import math
import threading
import time
from collections import OrderedDict

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conduit.errors import TooManyError

# An account's known addresses are forgotten after so long without a sign-in.
KNOWN_SECONDS = 30 * 86_400
# Of all accounts together, in this process's memory: 3 MB of it.
MAX_KNOWN = 10_000


class _KnownAddresses:
    """Pairs of an address and an account, each for ``KNOWN_SECONDS`` from its last sign-in; the last ``MAX_KNOWN``."""

    def __init__(self) -> None:
        self._known_until: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, address: str, account: str) -> None:
        with self._lock:
            self._known_until[address, account] = time.monotonic() + KNOWN_SECONDS
            self._known_until.move_to_end((address, account))
            if len(self._known_until) > MAX_KNOWN:
                self._known_until.popitem(last=False)

    def has(self, address: str, account: str) -> bool:
        return self._known_until.get((address, account), 0.0) > time.monotonic()


class MemoryLimits:
    """Sliding-window counters by account for writes, by address and by account for signing in and up.

    The account's limit does not hold for an address from which its owner has signed in: whoever guesses at a password
    elsewhere would lock the owner out.
    """

    def __init__(self, write: RateLimitItem, sign_in: RateLimitItem) -> None:
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._known = _KnownAddresses()
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
        self._known.add(address, account)

    def _knows(self, address: str, account: str) -> bool:
        return self._known.has(address, account)

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
