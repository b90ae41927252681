"""Which server holds which logical shard: one server all of them, or what the directory says."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import select

from conduit.adapters.database_server import DatabaseServer
from conduit.errors import UnavailableError
from conduit.ids import SHARDS
from conduit.models import placements
from conduit.statements import Statement

log = logging.getLogger(__name__)


class ShardMap(Protocol):
    """A place for each logical shard."""

    @property
    def servers(self) -> Sequence[DatabaseServer]:
        """All servers that may hold one."""

    def placed(self) -> Sequence[DatabaseServer]:
        """Logical shard k's server at [k]. Raises UnavailableError while nobody can say."""

    def holders(self) -> Sequence[DatabaseServer]:
        """Those that hold any. Raises what ``placed`` does."""


class FixedMap:
    """A map that never changes."""

    def __init__(self, placed: Sequence[DatabaseServer]) -> None:
        if len(placed) != SHARDS:
            raise ValueError(f"the map must place all {SHARDS} logical shards, not {len(placed)}")
        self._placed = tuple(placed)
        self.servers = tuple(dict.fromkeys(placed))

    def placed(self) -> Sequence[DatabaseServer]:
        return self._placed

    def holders(self) -> Sequence[DatabaseServer]:
        return self.servers


class PlacementRow(NamedTuple):
    shard: int
    server: str


PLACEMENTS = Statement(
    "placements", select(placements.c.shard, placements.c.server).order_by(placements.c.shard), PlacementRow
)


class DirectoryMap:
    """The directory's map, read when it is first needed: an app also starts while the directory is away."""

    def __init__(self, directory: DatabaseServer, servers: Mapping[str, DatabaseServer]) -> None:
        self._directory = directory
        self._by_name = servers
        self._placed: Sequence[DatabaseServer] = ()
        self._holders: Sequence[DatabaseServer] = ()
        self.servers = tuple(servers.values())

    def placed(self) -> Sequence[DatabaseServer]:
        if not self._placed:
            placed = self._read()
            self._holders = tuple(dict.fromkeys(placed))
            self._placed = placed
        return self._placed

    def holders(self) -> Sequence[DatabaseServer]:
        self.placed()
        return self._holders

    def _read(self) -> Sequence[DatabaseServer]:
        rows = self._directory.all(PLACEMENTS)
        unknown = {row.server for row in rows} - set(self._by_name)
        if unknown or [row.shard for row in rows] != list(range(SHARDS)):
            log.error("the directory's map can't be used", extra={"places": len(rows), "unknown": sorted(unknown)})
            raise UnavailableError("the directory")
        return tuple(self._by_name[row.server] for row in rows)
