"""The composition root: chooses and builds the adapters from Settings. Nothing else asks what is configured."""

import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conduit import announcements, cover_files, covers, memory_headroom, pages, reports
from conduit.adapters.cache_invalidating import invalidating
from conduit.adapters.database_postgres import PostgresDatabase, one_server
from conduit.adapters.database_server import DatabaseServer
from conduit.adapters.edge_null import NullEdge
from conduit.adapters.edge_purge import PurgeEdge
from conduit.adapters.events_null import NullEvents
from conduit.adapters.limits_memory import MemoryLimits
from conduit.adapters.mail_log import LogMail
from conduit.adapters.mail_smtp import SmtpMail
from conduit.adapters.media_disk import DiskMedia
from conduit.adapters.media_http import HttpMedia
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.reads_sql import SqlReads
from conduit.adapters.shard_map import DirectoryMap
from conduit.adapters.tasks_inline import InlineTasks
from conduit.announcements import MailFollowers, MailFrom
from conduit.cover_files import DropCover
from conduit.covers import MakeCover
from conduit.edge import purging
from conduit.passwords import Passwords
from conduit.ports import Database, Listener, Mail, Media, Reads
from conduit.postgres_hosts import Hosts
from conduit.reports import WriteReport
from conduit.services import Services
from conduit.settings import Settings
from conduit.tasks import Handler, Handlers
from conduit.tokens import Tokens

if TYPE_CHECKING:
    from conduit.adapters.cache_redis import RedisCache
    from conduit.adapters.limits_redis import RedisLimits
    from conduit.adapters.pins_redis import RedisPins
    from conduit.adapters.tasks_celery import CeleryTasks


def bootstrap(settings: Settings, database: Database | None = None, mail: Mail | None = None) -> Services:
    """Build and open the adapters that the settings name. Tests may pass a Database or a Mail."""
    memory_headroom.limit_malloc()
    memory_headroom.note_start()
    edge = NullEdge() if settings.edge_url is None else PurgeEdge(settings.edge_url)
    cache = _cache(settings)
    pins = _pins(settings)
    if database is None:
        # In this order: a purged edge must not refill itself with a stale value from the cache.
        listeners = [*([] if cache is None else [invalidating(cache)]), purging(edge)]
        database = _database(settings, pins, listeners)
    media = DiskMedia(settings.media_dir) if settings.media_url is None else _http_media(settings)
    mail_from = MailFrom(settings.mail_address, settings.public_url)
    handlers = task_handlers(database, media, mail or _mail(settings), mail_from)
    tasks = _tasks(settings, database, handlers)
    limits = _limits(settings)
    return Services(
        database=database,
        reads=_reads(SqlReads(database, media), cache, media),
        media=media,
        tasks=tasks,
        handlers=handlers,
        limits=limits,
        passwords=Passwords(settings.password_hashes_at_once),
        tokens=Tokens(_key(settings), settings.token_hours),
        pages=pages.NO_FILES if settings.web_dir is None else pages.read(settings.web_dir),
        backends={
            "database": _where_rows_are(settings),
            "reads": "from the database" if cache is None else "from Redis, else from the database",
            "media": "files of this app's own" if settings.media_url is None else "an object store, by HTTP",
            "tasks": "done inside the request that asks for them"
            if settings.broker_url is None
            else "done by workers, through a queue in Redis",
            "mail": "only logged" if settings.smtp_url is None else "sent by SMTP",
            "limits": f"in {'memory' if settings.limits_url is None else 'Redis'}; "
            f"writes {settings.write_limit}, signing in {settings.login_limit}",
            "edge": "none" if settings.edge_url is None else "purged by HTTP",
            "events": "not recorded",
            "pages": "not served" if settings.web_dir is None else "from memory",
        },
        addresses=_addresses(settings),
        before_requests=partial(_begin, tasks, pins),
        after_requests=tasks.end,
        closers=[
            database.close,
            *([] if cache is None else [cache.close]),
            *([] if pins is None else [pins.close]),
            limits.close,
            media.close,
            edge.close,
        ],
    )


def _where_rows_are(settings: Settings) -> str:
    if not settings.shards:
        return "PostgreSQL, logical shards 0-63"
    shards = f"PostgreSQL, logical shards on {', '.join(settings.shard_urls)}, where the directory says"
    return f"{shards}; read from replicas, too" if settings.pins_url else shards


def _http_media(settings: Settings) -> HttpMedia:
    assert settings.media_url is not None
    password = settings.media_password
    return HttpMedia(settings.media_url, None if password is None else password.get_secret_value())


def _key(settings: Settings) -> str:
    """The tokens' key. A process without one takes no requests; if it did, no token would be valid."""
    return secrets.token_hex(32) if settings.jwt_secret is None else settings.jwt_secret.get_secret_value()


def _addresses(settings: Settings) -> dict[str, str]:
    """Host and port of each server, without the rest of its URL, which may contain a password."""
    databases = {"database": settings.database_url, **settings.shard_urls}
    urls = {
        "cache": (settings.cache_url, 6379),
        "limits": (settings.limits_url, 6379),
        "pins": (settings.pins_url, 6379),
        "media": (settings.media_url, 80),
        "queue": (settings.broker_url, 6379),
        "mail": (settings.smtp_url, 25),
        "edge": (settings.edge_url, 80),
    }
    servers = {name: (urlsplit(url), default) for name, (url, default) in urls.items() if url}
    addresses = {name: Hosts(url).text for name, url in databases.items()}
    return addresses | {name: f"{parts.hostname}:{parts.port or default}" for name, (parts, default) in servers.items()}


# redis-py is imported only where Redis is configured: it takes 5 MB of memory.


def _cache(settings: Settings) -> "RedisCache | None":
    if settings.cache_url is None:
        return None
    from conduit.adapters.cache_redis import RedisCache  # noqa: PLC0415

    # Two for each thread: one that has waited too long for an answer tries again over another.
    connections = 2 * settings.threads
    cache = RedisCache(settings.cache_url, single_flight=settings.cache_single_flight, connections=connections)
    cache.open()
    return cache


def _reads(reads: SqlReads, cache: "RedisCache | None", media: Media) -> Reads:
    if cache is None:
        return reads
    from conduit.adapters.reads_cached import CachedReads  # noqa: PLC0415

    return CachedReads(reads, cache, media)


def _limits(settings: Settings) -> "MemoryLimits | RedisLimits":
    if settings.limits_url is None:
        return MemoryLimits(settings.write_limit_item, settings.login_limit_item)
    from conduit.adapters.limits_redis import RedisLimits  # noqa: PLC0415

    limits = RedisLimits(
        settings.limits_url, settings.write_limit_item, settings.login_limit_item, connections=settings.threads
    )
    limits.open()
    return limits


def task_handlers(database: Database, media: Media, mail: Mail, mail_from: MailFrom) -> Handlers:
    """The handler of each kind of task, bound to the adapters that it uses."""
    return Handlers(
        Handler(
            "image",
            MakeCover,
            perform=partial(covers.make_files, database, media),
            fail=covers.fail,
            discard=partial(covers.discard, media),
            fail_abandoned=partial(covers.fail_abandoned, database, media),
        ),
        Handler("drop", DropCover, perform=partial(cover_files.drop, database, media)),
        Handler(
            "mail",
            MailFollowers,
            perform=partial(announcements.mail_followers, database, mail, mail_from),
        ),
        Handler(
            "report",
            WriteReport,
            perform=partial(reports.write, database, media),
            fail=reports.fail,
            fail_abandoned=partial(reports.fail_abandoned, database),
            expire=partial(reports.delete_old, database, media),
            exclusive=True,
        ),
    )


def _tasks(settings: Settings, database: Database, handlers: Handlers) -> "InlineTasks | CeleryTasks":
    if settings.broker_url is None:
        return InlineTasks(database, handlers, settings.task_seconds)
    # Imported here: an app without a broker does not need Celery in memory.
    from conduit.adapters.tasks_celery import CeleryTasks, celery_app  # noqa: PLC0415

    return CeleryTasks(celery_app(settings.broker_url))


def _mail(settings: Settings) -> Mail:
    if settings.smtp_server is None:
        return LogMail()
    return SmtpMail(*settings.smtp_server, settings.mail_address.addr_spec, settings.mail_seconds)


def _begin(tasks: "InlineTasks | CeleryTasks", pins: "RedisPins | None") -> None:
    tasks.begin()
    if pins is not None:
        pins.open()


def _pins(settings: Settings) -> "RedisPins | None":
    if settings.pins_url is None:
        return None
    from conduit.adapters.pins_redis import RedisPins  # noqa: PLC0415

    return RedisPins(settings.pins_url, connections=settings.threads)


def _database(settings: Settings, pins: "RedisPins | None", listeners: Sequence[Listener]) -> PostgresDatabase:
    if settings.shards:
        directory = PostgresServer("directory", settings.database_url, settings.pool_size)
        shards = {name: _shard(settings, name, url, pins) for name, url in settings.shard_urls.items()}
        shard_map = DirectoryMap(directory, shards)
        database = PostgresDatabase(shard_map, directory, NullEvents(), listeners)
    else:
        database = one_server(
            PostgresServer("main", settings.database_url, settings.pool_size), NullEvents(), listeners
        )
    database.open()
    return database


def _shard(settings: Settings, name: str, url: str, pins: "RedisPins | None") -> DatabaseServer:
    if pins is None or not Hosts(url).are_several:
        return PostgresServer(name, url, settings.pool_size)
    from conduit.adapters.replica import Replica  # noqa: PLC0415
    from conduit.adapters.replicated_server import ReplicatedServer  # noqa: PLC0415

    # One more for the heartbeat, which must not wait for readers.
    primary = PostgresServer(name, url, settings.pool_size + 1)
    standby = PostgresServer(f"{name} replica", url, settings.pool_size + 1, wanted="standby")
    replica = Replica(primary, standby, settings.max_lag)
    return ReplicatedServer(primary, replica, pins if settings.read_your_writes else None)
