"""``python -m conduit api``: wait for the database, migrate it, serve. ``migrate`` does only that.

``worker`` does the slow work that the app asks for; ``queue`` tells what of it is left.
"""

import logging
import os
import signal
import sys

import pydantic

from conduit import logs
from conduit.settings import Settings

log = logging.getLogger("conduit")
LISTENERS = 16
# What is under way at a stop is waited for: slow work inside a request takes that long. A box is killed after 30 s.
DRAIN_SECONDS = 24
_USAGE = "usage: python -m conduit api | migrate | serve | worker | queue [--retry KEY|all]"

_NO_QUEUE = "there is no queue: BROKER_URL is not set"


def main(arguments: list[str]) -> int:
    logs.configure()
    # A container's first process hears no signal that it does not listen to. uvicorn drains at SIGTERM and then raises
    # it again for whoever listened before: a stop that was asked for is a good end, not a death by a signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = Settings()
    except pydantic.ValidationError as error:
        for problem in error.errors():
            log.error("setting %s: %s", ".".join(map(str, problem["loc"])).upper(), problem["msg"])
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
        # Begun anew, so that what only the migration needs is not kept in a small box's memory. Who finds nothing to do
        # goes on: on a quarter of a core a beginning takes seconds.
        os.execv(sys.executable, [sys.executable, "-m", "conduit", "serve"])  # noqa: S606
    return _serve(settings)


def _migrate(settings: Settings) -> bool | None:
    """Whether there was anything to do; None, having said why, where it was not done."""
    from conduit.migrate import MigrationError, migrate, wait_for

    try:
        wait_for(settings.database_url)
        return migrate(settings.database_url)
    except (TimeoutError, MigrationError) as error:
        log.error("%s", error)
        return None


def _worker(settings: Settings) -> int:
    if settings.broker_url is None:
        log.error(_NO_QUEUE)
        return 2
    from conduit import worker

    return worker.run(settings)


def _queue(settings: Settings, retried: str | None = None) -> int:
    if settings.broker_url is None:
        print(_NO_QUEUE, file=sys.stderr)
        return 2
    from conduit import backlog
    from conduit.bootstrap import bootstrap
    from conduit.errors import UnavailableError

    # Only the database is asked: a command that shows what is wrong should not wait for anything else.
    services = bootstrap(settings.model_copy(update={"web_dir": None, "cache_url": None, "limits_url": None}))
    try:
        said = backlog.summary(services.database) if retried is None else backlog.retry(services.database, retried)
    except UnavailableError:
        print("The queue can't be shown: the database does not answer.", file=sys.stderr)
        return 1
    finally:
        services.close()
    if said is None:
        print(f"No task with the key {retried} is dead.", file=sys.stderr)
        return 1
    print(said)
    return 0


def _serve(settings: Settings) -> int:
    import uvicorn
    from prometheus_client import start_http_server

    from conduit.bootstrap import bootstrap
    from conduit.main import create_app
    from conduit.pages import PagesError

    try:
        services = bootstrap(settings)
    except PagesError as error:
        log.error("the pages can't be served: %s", error)
        return 2
    log.info("started", extra={"backends": services.backends})
    start_http_server(settings.metrics_port)
    config = uvicorn.Config(
        create_app(settings, services),
        host="0.0.0.0",  # noqa: S104 - a container's own network
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # who asks is found where it matters
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
    )
    # libuv accepts one connection a turn of the loop from a listener (libuv#3696). A busy box turns some thirty times a
    # second: callers with new connections waited seconds, unseen. Listening several times, it takes several a turn.
    listener = config.bind_socket()
    uvicorn.Server(config).run(sockets=[listener, *(listener.dup() for _ in range(LISTENERS - 1))])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
