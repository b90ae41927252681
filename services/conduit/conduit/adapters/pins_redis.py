"""Pins: where the last write of each user is in the log of its server, in a Redis that evicts nothing.

A pin is kept for longer than a replica may lag. A user without one has written nothing that a replica may lack. That is
known only if Redis was there for so long: what it lost in a crash may have been a pin.
"""

from collections.abc import Mapping

from conduit.adapters import positions
from conduit.adapters.redis_server import RedisServer

# However long a request has waited for Redis before: without an answer it asks the primary, or waits for the replica.
AT_LEAST_SECONDS = 0.01

# KEYS: the user's pins; ARGV: the server, the position, seconds. Texts compare byte by byte, and the later is greater.
_RAISE = """
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept or kept < ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""

# The user's pins, and for how many seconds Redis has been running.
_GET = """
local seconds = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
return {redis.call('HGETALL', KEYS[1]), tonumber(seconds)}
"""


class RedisPins:
    """The pins in the database of Redis that ``url`` names. Raises UnavailableError where that does not answer."""

    def __init__(self, url: str, *, connections: int = 1) -> None:
        self._server = RedisServer(url, connections=connections)
        self._raise = self._server.client.register_script(_RAISE)
        self._get = self._server.client.register_script(_GET)

    def open(self) -> None:
        self._server.open()

    def close(self) -> None:
        self._server.close()

    def raise_to(self, user_id: int, server: str, position: str) -> None:
        """The user has seen this position of the server."""
        arguments: list[str | int] = [server, position, positions.KNOWN_SECONDS]
        self._server.call(lambda: self._raise(keys=[_key(user_id)], args=arguments), at_least=AT_LEAST_SECONDS)

    def of(self, user_id: int) -> Mapping[str, str] | None:
        """A user's pins by server; None where they may be lost."""
        found, running = self._server.call(lambda: self._get(keys=[_key(user_id)]), at_least=AT_LEAST_SECONDS)
        if running < positions.KNOWN_SECONDS:
            return None
        texts = [text.decode() for text in found]
        return dict(zip(texts[::2], texts[1::2], strict=True))


def _key(user_id: int) -> str:
    return f"pins:{user_id}"
