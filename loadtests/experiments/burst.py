"""Requests that are all under way at once: a process on the stage's network, in JSON lines on stdin and stdout.

In:   {"path": "/api/articles?limit=20", "count": 500, "flush": "redis://cache:6379/0"}
Out:  {"result": …}, or {"error": "…"}.
It ends by itself when stdin does.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis

TIME_OUT = 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_QUERIES = re.compile(rb'^server-timing:.*desc="(\d+) queries"', re.IGNORECASE | re.MULTILINE)


class Answer(NamedTuple):
    """Status, number of database queries by its Server-Timing header, and when it ended, in seconds."""

    status: str
    queries: int
    finished: float


async def burst(targets: list[str], path: str, count: int, flush: str = "") -> dict[str, Any]:
    """Open ``count`` connections, shared evenly among the targets, and send the same request on each at once.

    The Redis database at ``flush`` is emptied in between, and from here: a command inside Redis' box would take the CPU
    that its answers need.

    Statuses, the database queries that the answers say were made for them, how many requests were under way at most,
    and ms until the first and the last answer.
    """
    places = [urlsplit(target) for target in targets]
    connections = []
    for number in range(count):
        place = places[number % len(places)]
        connections.append(await asyncio.open_connection(place.hostname, place.port))
    if flush:
        password = os.environ.get("REDISCLI_AUTH")
        with redis.Redis.from_url(flush, password=password, socket_timeout=TIME_OUT) as cache:
            cache.flushdb()
    head = f"GET {path} HTTP/1.1\r\nHost: stage\r\nConnection: close\r\n\r\n".encode()
    began = time.perf_counter()
    for _, writer in connections:
        writer.write(head)
    sent = time.perf_counter()
    answers = await asyncio.gather(*(_answer(connection) for connection in connections))
    return {
        "statuses": dict(Counter(answer.status for answer in answers)),
        "queries": sum(answer.queries for answer in answers),
        "most_in_flight": sum(answer.finished >= sent for answer in answers),
        "first_ms": round((min(answer.finished for answer in answers) - began) * 1000, 1),
        "last_ms": round((max(answer.finished for answer in answers) - began) * 1000, 1),
    }


async def _answer(connection: Connection) -> Answer:
    reader, writer = connection
    try:
        whole = await asyncio.wait_for(reader.read(-1), TIME_OUT)
    except (OSError, TimeoutError) as error:
        return Answer(type(error).__name__, 0, time.perf_counter())
    finally:
        writer.close()
    return answered(whole, time.perf_counter())


def answered(whole: bytes, finished: float) -> Answer:
    """A whole response that ended at ``finished``."""
    head = whole.partition(b"\r\n\r\n")[0]
    words = head[:16].split(b" ")
    said = _QUERIES.search(head)
    return Answer(words[1].decode() if len(words) > 1 else "nothing", int(said.group(1)) if said else 0, finished)


def say(**message: object) -> None:
    """One line to whoever drives."""
    print(json.dumps(message), flush=True)


async def line() -> str:
    """The next line of stdin; empty at its end."""
    return await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    """Bursts until stdin ends."""
    parser = argparse.ArgumentParser(description="Sends many requests at once, driven by JSON lines.")
    parser.add_argument("--target", action="append", required=True, help="as http://app1:8000; may be given again")
    options = parser.parse_args()
    while wanted := await line():
        asked = json.loads(wanted)
        try:
            say(result=await burst(options.target, asked["path"], int(asked["count"]), asked["flush"]))
        except (OSError, redis.RedisError) as error:
            say(error=str(error))


if __name__ == "__main__":
    asyncio.run(main())
