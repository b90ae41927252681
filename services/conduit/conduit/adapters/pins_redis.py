"""Pins: where the last write of each user is in the log of its server, in a Redis that evicts nothing.

A pin is kept for longer than a replica may lag. A user without one has written nothing that a replica may lack. That is
known only if Redis was there for so long: what it lost in a crash may have been a pin.
"""

from collections.abc import Mapping

from conduit.adapters import positions
from conduit.adapters.redis_server import RedisServer
from conduit.errors import UnavailableError

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

# More users than ever write while Redis is away for a minute.
MOST_OWED = 10_000


class RedisPins:
    """The pins in the database of Redis that ``url`` names. Raises UnavailableError where that does not answer.

    What could not be kept is owed: it is delivered before this process asks again.
    """

    def __init__(self, url: str, *, connections: int = 1) -> None:
        self._server = RedisServer(url, self._deliver_owed, connections=connections)
        self._owed: list[tuple[int, str, str]] = []
        self._raise = self._server.client.register_script(_RAISE)
        self._get = self._server.client.register_script(_GET)

    def open(self) -> None:
        self._server.open()

    def close(self) -> None:
        self._server.close()

    def raise_to(self, user_id: int, server: str, position: str) -> None:
        """The user has seen this position of the server."""
        try:
            self._server.call(
                lambda: self._keep(user_id, server, position), at_least=AT_LEAST_SECONDS, required=True
            )
        except UnavailableError:
            if len(self._owed) < MOST_OWED:
                self._owed.append((user_id, server, position))
            # A probe that has just delivered the others did not know of this one.
            self._server.open_circuit("a pin was not kept")
            raise

    def _keep(self, user_id: int, server: str, position: str) -> None:
        self._raise(keys=[_key(user_id)], args=[server, position, positions.KNOWN_SECONDS])

    def _deliver_owed(self) -> None:
        while self._owed:
            owed = self._owed.pop()
            try:
                self._keep(*owed)
            except BaseException:
                self._owed.append(owed)
                raise

    def of(self, user_id: int) -> Mapping[str, str] | None:
        """A user's pins by server; None where they may be lost."""
        found, running = self._server.call(lambda: self._get(keys=[_key(user_id)]), at_least=AT_LEAST_SECONDS)
        return positions.by_server(running, found)


def _key(user_id: int) -> str:
    return f"pins:{user_id}"
