"""Limits that all app boxes count together, in Redis; each box counts by itself while Redis is away.

Counted alone, an account may do as much as the limit at every box. For a while that is better than refusing everybody,
or nobody. Neither count knows what the other has counted.
"""

from contextlib import suppress

from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conduit.adapters.limits_memory import KNOWN_SECONDS, MemoryLimits, counted
from conduit.adapters.redis_server import RedisServer
from conduit.errors import UnavailableError


class RedisLimits(MemoryLimits):
    """Sliding-window counters in the database of Redis that ``url`` names."""

    def __init__(self, url: str, write: RateLimitItem, sign_in: RateLimitItem, *, connections: int = 1) -> None:
        super().__init__(write, sign_in)
        self._server = RedisServer(url, connections=connections)
        self._shared = SlidingWindowCounterRateLimiter(RedisStorage(url, connection_pool=self._server.pool))

    def open(self) -> None:
        self._server.open()

    def close(self) -> None:
        self._server.close()

    def _wait(self, limit: RateLimitItem, *identifiers: str) -> float | None:
        try:
            return self._server.call(lambda: counted(self._shared, limit, *identifiers))
        except UnavailableError:
            return super()._wait(limit, *identifiers)

    def signed_in(self, address: str, account: str) -> None:
        # Here, too, so that the owner is known while Redis is away.
        super().signed_in(address, account)
        with suppress(UnavailableError):
            self._server.call(lambda: self._server.client.set(_known(address, account), 1, ex=KNOWN_SECONDS))

    def _knows(self, address: str, account: str) -> bool:
        if super()._knows(address, account):
            return True  # even if Redis came back empty
        try:
            return self._server.call(lambda: bool(self._server.client.exists(_known(address, account))))
        except UnavailableError:
            return False


def _known(address: str, account: str) -> str:
    return f"{RedisStorage.PREFIX}:known/{address}/{account}"
