"""How full a cache is, and since when it fills: asked of Redis itself, over the network.

The app notes when a generation of its counters began (``conduit.adapters.cache_keys``), which is when the cache was
last empty: after a start of Redis, which keeps nothing, and after somebody emptied it. Redis' own uptime would not know
of the latter.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import redis

TIME_OUT = 5.0


def held(urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Of each cache at these URLs: ``at``, on this machine's monotonic clock, ``age`` in seconds since it was last
    empty (None where nothing was read yet), its ``keys``, the ``bytes`` that it uses of its ``max_bytes`` (0: no
    maximum), and how many keys it has ``evicted`` for lack of room since it was started. One that does not answer is
    left out.
    """
    found = {}
    for name, url in urls.items():
        try:
            found[name] = _held(url)
        except redis.RedisError:
            continue
    return found


def _held(url: str) -> dict[str, Any]:
    password = os.environ.get("REDISCLI_AUTH")
    at = time.perf_counter()
    with redis.Redis.from_url(url, password=password, socket_timeout=TIME_OUT) as server:
        asked = server.pipeline(transaction=False).time().hget("versions", "began").dbsize().info("memory", "stats")
        (seconds, _), began, keys, said = asked.execute()
    return {
        "at": at,
        "age": None if began is None else seconds - int(began),
        "keys": keys,
        "bytes": said["used_memory"],
        "max_bytes": said["maxmemory"],
        "evicted": said["evicted_keys"],
    }
