"""Times as the API shows them, read so from the database: UTC with milliseconds and ``Z``.

The app computes with no time, it only shows them, and a list shows forty. Made by psycopg as a ``datetime`` and then
written out, they took a third of a list's Python; what is read often is now written once.
"""

import datetime as dt
from functools import lru_cache

from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_POSTGRES_EPOCH = dt.datetime(2000, 1, 1)


@lru_cache(maxsize=4096)
def shown_time(microseconds: bytes) -> str:
    """The time so many microseconds after 2000 began, which is how PostgreSQL sends it: eight bytes, big-endian."""
    moment = _POSTGRES_EPOCH + dt.timedelta(microseconds=int.from_bytes(microseconds, "big", signed=True))
    return moment.isoformat(timespec="milliseconds") + "Z"


class TimeLoader(Loader):
    """Loads ``timestamptz`` in its binary format as text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return shown_time(bytes(data))
