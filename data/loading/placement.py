"""Which server holds which logical shards, as the command line gives it: ``0-31,40=postgresql://…``. Or where only the
directory knows: ``directory=postgresql://…``, and ``shard1=postgresql://…`` for each server that it names.
"""

from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict

from conduit.ids import SHARDS
from data.loading.failures import Refused, explained

CONNECT_SECONDS = 10
_DIRECTORY = "directory"
_PLACED = "SELECT server, array_agg(shard ORDER BY shard) FROM placements GROUP BY server"
_FORM = "write it as SHARDS=URL, for example 0-63=postgresql://conduit@db:5432/conduit"


@dataclass(frozen=True)
class Server:
    """A primary: its logical shards, sorted, and its URL. The directory of several servers holds none."""

    shards: tuple[int, ...]
    url: str

    @property
    def label(self) -> str:
        """Host, port and database: what a message may show of a URL, which may name several hosts."""
        parts = conninfo_to_dict(self.url)
        port = str(parts.get("port", "")).strip(",") or "5432"
        return f"{parts.get('host', 'localhost')}:{port}/{parts.get('dbname', '')}"

    @property
    def shards_text(self) -> str:
        """The shards as ranges: ``0-31,40``."""
        ranges: list[list[int]] = []
        for shard in self.shards:
            if ranges and shard == ranges[-1][1] + 1:
                ranges[-1][1] = shard
            else:
                ranges.append([shard, shard])
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)

    def connect(self) -> psycopg.Connection:
        """A connection whose text forms (times) do not depend on the server's settings.

        Raises Refused when the server cannot be reached within ten seconds.
        """
        with explained(self.label):
            return psycopg.connect(
                self.url,
                connect_timeout=CONNECT_SECONDS,
                options="-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1 -c statement_timeout=0 "
                "-c idle_in_transaction_session_timeout=0",
                application_name="conduit-data",
            )


def parse(text: str) -> Server:
    """A Server from ``SHARDS=URL``; SHARDS is a list of numbers and ranges. Raises Refused when it is not that."""
    shards_text, separator, url = text.partition("=")
    if not separator or not url.startswith(("postgresql://", "postgres://")):
        raise Refused(f"“{text}” does not say which shards which database holds; {_FORM}.")
    shards: set[int] = set()
    for part in shards_text.split(","):
        low, _, high = part.partition("-")
        try:
            numbers = range(int(low), int(high or low) + 1)
        except ValueError:
            raise Refused(f"“{part}” is not a logical shard or a range of them; {_FORM}.") from None
        if not numbers or numbers[0] < 0 or numbers[-1] >= SHARDS:
            raise Refused(f"“{part}” is not within the logical shards 0-{SHARDS - 1}; {_FORM}.")
        shards.update(numbers)
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise Refused(f"The URL after “{shards_text}=” is not one that PostgreSQL understands; {_FORM}.") from None
    return Server(tuple(sorted(shards)), url)


def _named(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    return name, parse(f"0={url}").url


def _by_directory(urls: dict[str, str]) -> list[Server]:
    directory = Server((), urls[_DIRECTORY])
    with directory.connect() as connection, explained(directory.label):
        placed = {name: tuple(shards) for name, shards in connection.execute(_PLACED)}
    if unknown := placed.keys() - urls.keys():
        raise Refused(f"The directory places logical shards on {', '.join(sorted(unknown))}, whose URL is not given.")
    return [directory, *(Server(placed.get(name, ()), url) for name, url in urls.items() if name != _DIRECTORY)]


def parse_all(texts: list[str]) -> list[Server]:
    """Servers that hold every logical shard exactly once, the one that holds the names first.

    Raises Refused when one is missing or held twice, or the directory can't be asked.
    """
    by_name = dict(_named(text) for text in texts if text.partition("=")[0].isidentifier())
    servers = _by_directory(by_name) if _DIRECTORY in by_name else [parse(text) for text in texts]
    holders = [sum(shard in server.shards for server in servers) for shard in range(SHARDS)]
    for shard, count in enumerate(holders):
        if count != 1:
            held = "no database" if count == 0 else f"{count} databases"
            raise Refused(f"Logical shard {shard} is held by {held}; together they must hold 0-{SHARDS - 1} once.")
    return servers
