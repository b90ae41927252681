"""The composition root: from Settings to the adapters in use. The only place that asks what is configured."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from conduit import pages
from conduit.adapters.database_postgres import PostgresDatabase, one_server
from conduit.adapters.events_null import NullEvents
from conduit.adapters.limits_memory import MemoryLimits
from conduit.adapters.media_disk import DiskMedia
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.reads_sql import SqlReads
from conduit.passwords import Passwords
from conduit.ports import Database, Limits, Media, Reads
from conduit.settings import Settings
from conduit.tokens import Tokens


@dataclass(frozen=True)
class Services:
    """What the routes call. ``wired`` says in words which adapter stands behind each port."""

    database: Database
    reads: Reads
    media: Media
    limits: Limits
    passwords: Passwords
    tokens: Tokens
    pages: pages.Files
    wired: dict[str, str]

    def close(self) -> None:
        self.database.close()


def bootstrap(settings: Settings, database: Database | None = None) -> Services:
    """Build the adapters that the settings name, and open what must be open. Tests may bring their own Database."""
    if database is None:
        database = _database(settings)
    media = DiskMedia(settings.media_dir)
    url = urlsplit(settings.database_url)
    return Services(
        database=database,
        reads=SqlReads(database, media),
        media=media,
        limits=MemoryLimits(settings.write_limit_item, settings.login_limit_item),
        passwords=Passwords(settings.password_hashes_at_once),
        tokens=Tokens(settings.jwt_secret.get_secret_value(), settings.token_hours),
        pages=pages.NO_FILES if settings.web_dir is None else pages.read(settings.web_dir),
        wired={
            "database": f"PostgreSQL at {url.hostname}:{url.port or 5432}, logical shards 0-63",
            "reads": "from the database",
            "media": f"files under {settings.media_dir}, served by this app",
            "limits": f"in memory; writes {settings.write_limit}, signing in {settings.login_limit}",
            "events": "not recorded",
            "pages": "not served" if settings.web_dir is None else f"from memory, read from {settings.web_dir}",
        },
    )


def _database(settings: Settings) -> PostgresDatabase:
    database = one_server(PostgresServer("main", settings.database_url, settings.pool_size), NullEvents())
    database.open()
    return database
