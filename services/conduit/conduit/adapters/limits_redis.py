"""Limits that all app boxes count together, in Redis; each by itself while Redis is away.

Counted alone, an account may do as much as the limit at every box: for a while that is better than to refuse everybody,
or nobody. What was counted before is not known to the other count, either way.
"""

from collections.abc import Callable, Sequence
from typing import Any

from limits import RateLimitItem
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from conduit.adapters.limits_memory import MemoryLimits, counted
from conduit.adapters.redis_server import RedisServer, Reply, Script
from conduit.errors import UnavailableError


class RedisLimits(MemoryLimits):
    """Sliding-window counters in the database of Redis that ``url`` names."""

    def __init__(self, url: str, write: RateLimitItem, sign_in: RateLimitItem) -> None:
        super().__init__(write, sign_in)
        self._storage = _Storage(url)
        self._shared = SlidingWindowCounterRateLimiter(self._storage)

    def open(self) -> None:
        self._storage.server.open()

    def close(self) -> None:
        self._storage.server.close()

    def _wait(self, limit: RateLimitItem, *identifiers: str) -> float | None:
        try:
            return counted(self._shared, limit, *identifiers)
        except UnavailableError:
            return super()._wait(limit, *identifiers)


class _Storage(RedisStorage):
    """The library's storage and its scripts, run over connections that wait no longer than a request may."""

    def __init__(self, url: str) -> None:
        # Not RedisStorage's own, which would load redis-py: 7 MB of a small box's memory.
        super(RedisStorage, self).__init__(url)
        self.key_prefix = self.PREFIX
        self._scripts: list[Script] = []
        self.initialize_storage(url)
        self.server = RedisServer(url, self._scripts)

    @property
    def base_exceptions(self) -> type[Exception]:
        return UnavailableError

    def get_connection(self, readonly: bool = False) -> Any:  # noqa: ARG002 - the library's own
        """What registers the library's scripts: no more is asked of a client of Redis here."""
        return self

    def register_script(self, source: bytes) -> Callable[[Sequence[str], Sequence[object]], Reply]:
        script = Script(source)
        self._scripts.append(script)

        def run(keys: Sequence[str], arguments: Sequence[object]) -> Reply:
            words = [str(argument).encode() for argument in arguments]
            return self.server.run(script, *words, keys=[key.encode() for key in keys])

        return run
