"""``python -m conduit api``: wait for the database, migrate it, and serve. ``migrate`` only migrates.

``worker`` performs the tasks that the app enqueues; ``queue`` shows which are left.
"""

import gc
import logging
import os
import signal
import sys

import pydantic

from conduit import logs
from conduit.settings import Settings

log = logging.getLogger("conduit")
# How long a stop waits for requests under way: tasks inside a request take that long. Docker kills the box after 30 s.
DRAIN_SECONDS = 24
_USAGE = "usage: python -m conduit api | migrate | serve | worker | queue [--retry KEY|all]"

_NO_QUEUE = "there is no queue: BROKER_URL is not set"


def main(arguments: list[str]) -> int:
    logs.configure()
    # Of what is imported nothing is garbage, and to look for some took a fifth of a start's CPU (0.28 s of 1.28).
    gc.disable()
    # A container's first process ignores signals without a handler. After draining, uvicorn raises SIGTERM again for
    # this handler, so that a requested stop exits with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = Settings()
    except pydantic.ValidationError as error:
        for problem in error.errors():
            log.error("setting %s: %s", ".".join(map(str, problem["loc"])).upper(), problem["msg"])
        return 2
    if settings.jwt_secret is None and arguments in (["api"], ["serve"]):
        log.error("setting JWT_SECRET: Field required")
        return 2
    return _run(settings, arguments)


def _run(settings: Settings, arguments: list[str]) -> int:
    match arguments:
        case ["migrate"]:
            return 1 if _migrate(settings) is None else 0
        case ["api"]:
            return _migrate_and_serve(settings)
        case ["serve"]:
            return _serve(settings)
        case ["worker"]:
            return _worker(settings)
        case ["queue"] | ["queue", "--retry", _]:
            return _queue(settings, *arguments[2:])
    log.error(_USAGE)
    return 2


def _migrate_and_serve(settings: Settings) -> int:
    migrated = _migrate(settings)
    if migrated is None:
        return 1
    if migrated:
        # Restart, so that modules that only the migration needs do not stay in memory. Without a migration, go on: a
        # start takes seconds on a small box.
        os.execv(sys.executable, [sys.executable, "-m", "conduit", "serve"])  # noqa: S606
    return _serve(settings)


def _migrate(settings: Settings) -> bool | None:
    """Whether there was a migration to run; None after a failure, which is logged."""
    from conduit.migrate import MigrationError, migrate, wait_for
    from conduit.placement import place
    from conduit.postgres_hosts import Hosts

    first = "the directory" if settings.shards else "the database"
    urls = {first: settings.database_url, **settings.shard_urls}
    servers = {name: Hosts(url).conninfo() for name, url in urls.items()}
    try:
        there = wait_for(list(servers.values()))
        for name in (name for name, server in servers.items() if server not in there):
            # What lives elsewhere goes on. The next start brings it to the newest schema.
            log.error("%s does not answer, and is not migrated", name)
        migrated = [migrate(server) for server in there]
        if settings.shards and servers[first] in there:
            place(servers[first], list(settings.shard_urls))
        return any(migrated)
    except (TimeoutError, MigrationError) as error:
        log.error("%s", error)
        return None


def _collect_from_now_on() -> None:
    """What is there by now stays, so the garbage collector need not walk it again and again."""
    gc.freeze()
    gc.enable()


def _worker(settings: Settings) -> int:
    if settings.broker_url is None:
        log.error(_NO_QUEUE)
        return 2
    from conduit import worker

    _collect_from_now_on()
    return worker.run(settings)


def _queue(settings: Settings, key: str | None = None) -> int:
    if settings.broker_url is None:
        print(_NO_QUEUE, file=sys.stderr)
        return 2
    from conduit import backlog
    from conduit.bootstrap import bootstrap
    from conduit.errors import UnavailableError

    # Connect to the database alone: a diagnostic command should not wait for anything else.
    nothing_else = dict.fromkeys(["web_dir", "cache_url", "limits_url", "pins_url"])
    services = bootstrap(settings.model_copy(update=nothing_else))
    try:
        text = backlog.summary(services.database) if key is None else backlog.retry(services.database, key)
    except UnavailableError:
        print("The queue can't be shown: the database does not answer.", file=sys.stderr)
        return 1
    finally:
        services.close()
    if text is None:
        print(f"There is no dead task with the key {key}.", file=sys.stderr)
        return 1
    print(text)
    return 0


def _serve(settings: Settings) -> int:
    import uvicorn
    from prometheus_client import start_http_server

    from conduit.bootstrap import bootstrap
    from conduit.http_protocol import BoundedHttp
    from conduit.main import create_app
    from conduit.pages import PagesError
    from conduit.server import Server

    try:
        services = bootstrap(settings)
    except PagesError as error:
        log.error("the pages can't be served: %s", error)
        return 2
    log.info("started", extra={"backends": services.backends, "addresses": services.addresses})
    start_http_server(settings.metrics_port)
    config = uvicorn.Config(
        create_app(settings, services),
        host="0.0.0.0",  # noqa: S104 - a container's own network
        port=settings.port,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # dependencies.client_address reads them
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
    )
    listener = config.bind_socket()
    _collect_from_now_on()
    Server(config, listener, turns_away=not settings.trusted_proxies).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
