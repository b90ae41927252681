"""Where the logical shards of a new site are: an equal run of them on each server, written in the directory once.

From then on the directory is the only one that knows (``adapters/shard_map.py`` reads it).
"""

from collections.abc import Sequence

import psycopg

from conduit.ids import SHARDS
from conduit.migrate import MigrationError, first_line

_PLACE = "INSERT INTO placements (shard, server) VALUES (%s, %s) ON CONFLICT (shard) DO NOTHING"


def place(directory: str, servers: Sequence[str]) -> None:
    """Give each logical shard to one of the servers, where the directory's map does not say yet.

    ``directory`` is a conninfo. The map is written in one transaction, so it is whole or not there.

    Raises MigrationError.
    """
    rows = [(shard, servers[shard * len(servers) // SHARDS]) for shard in range(SHARDS)]
    try:
        with psycopg.connect(directory) as connection:
            connection.cursor().executemany(_PLACE, rows)
    except psycopg.Error as error:
        raise MigrationError(f"the map of the shards was not written: {first_line(error)}") from error
