"""Times from the database as the API shows them: text in UTC, with milliseconds and ``Z``.

The app shows times and never computes with them. A list of twenty shows forty, so formatting a ``datetime`` for each
would cost. Here a time that is read often is formatted once.
"""

import datetime as dt
from functools import lru_cache

from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_POSTGRES_EPOCH = dt.datetime(2000, 1, 1)


@lru_cache(maxsize=4096)
def shown_time(microseconds: bytes) -> str:
    """A time from PostgreSQL's binary format: microseconds since 2000 in eight bytes, big-endian."""
    moment = _POSTGRES_EPOCH + dt.timedelta(microseconds=int.from_bytes(microseconds, "big", signed=True))
    return moment.isoformat(timespec="milliseconds") + "Z"


class TimeLoader(Loader):
    """Loads ``timestamptz`` in its binary format as text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return shown_time(bytes(data))
