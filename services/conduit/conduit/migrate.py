"""Bring a database to the newest schema: once, whichever of several boxes comes first."""

import logging
import time
from pathlib import Path

import psycopg

log = logging.getLogger(__name__)

_LOCK = 0x636F6E64  # any number that nothing else here locks
WAIT_SECONDS = 60.0


def wait_for(url: str, seconds: float = WAIT_SECONDS) -> None:
    """Return when the database accepts connections. Raises TimeoutError with its last answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the database did not answer within {seconds:.0f} s: {error}") from error
            time.sleep(0.5)
        else:
            return


def migrate(url: str) -> None:
    """Run the migrations that the database does not have yet, under an advisory lock."""
    with psycopg.connect(url, autocommit=True) as lock:
        lock.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if _version(lock) == newest_version():
            log.info("the schema is up to date")
            return
        # Imported here: a box that finds nothing to do need not hold Alembic in its memory.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["url"] = url
        command.upgrade(config, "head")
        log.info("the schema is migrated")


def newest_version() -> str:
    """The newest migration's name: they are numbered, and so sort."""
    return max(path.stem for path in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))


def _version(connection: psycopg.Connection[tuple[str]]) -> str | None:
    found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None
