"""Migrate a database to the newest schema. When several boxes start at once, only the first one migrates."""

import logging
import time
from pathlib import Path

import psycopg
from psycopg.rows import scalar_row

log = logging.getLogger(__name__)

_LOCK = 0x636F6E64  # arbitrary; those of covers' files are hashes of 64 bits
WAIT_SECONDS = 60.0
# How long the other servers are waited for once one has answered.
OTHERS_SECONDS = 10.0


class MigrationError(Exception):
    """The database cannot be migrated. The text is for the log and says what to do."""


def wait_for(urls: list[str], seconds: float = WAIT_SECONDS, others: float = OTHERS_SECONDS) -> list[str]:
    """Wait until the databases accept connections; of several, for ``others`` seconds more once one does.

    Those that do. Raises TimeoutError, with the last error, where none does.
    """
    deadline = time.monotonic() + seconds
    there: list[str] = []
    while True:
        for url in urls:
            if url not in there:
                try:
                    psycopg.connect(url, connect_timeout=3).close()
                except psycopg.OperationalError as error:
                    last = error
                else:
                    deadline = min(deadline, time.monotonic() + others)
                    there.append(url)
        if len(there) == len(urls):
            return there
        if time.monotonic() > deadline:
            if there:
                return [url for url in urls if url in there]
            raise TimeoutError(f"the database did not answer within {seconds:.0f} s: {last}") from last
        time.sleep(0.5)


def migrate(url: str) -> bool:
    """Run the pending migrations under an advisory lock. Returns whether there were any.

    Raises MigrationError.
    """
    try:
        with psycopg.connect(url, autocommit=True) as lock:
            lock.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            version = _version(lock)
            if version == newest_version():
                log.info("the schema is up to date")
                return False
            if version is not None and version not in _versions():
                raise MigrationError(
                    f"a newer version of the app migrated the data to {version}, which this version does not know: "
                    f"use that version, or start over with `make stageN down VOLUMES=1`"
                )
            _upgrade(url)
    except psycopg.Error as error:
        raise MigrationError(f"the database was not migrated: {first_line(error)}") from error
    log.info("the schema is migrated")
    return True


def newest_version() -> str:
    """The newest migration's name: names start with a number, so the last in order is the newest."""
    return max(_versions())


def _versions() -> set[str]:
    return {path.stem for path in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")}


def _upgrade(url: str) -> None:
    # Imported here: without a pending migration, Alembic stays out of memory.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    try:
        command.upgrade(config, "head")
    except (CommandError, SQLAlchemyError) as error:
        # SQLAlchemy's own text appends the statement and a link; the driver's error has the database's message.
        cause = getattr(error, "orig", None) or error
        raise MigrationError(f"the database was not migrated: {first_line(cause)}") from error


def first_line(error: BaseException) -> str:
    """PostgreSQL's message, without the position in the statement that follows it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(connection: psycopg.Connection[tuple[str]]) -> str | None:
    found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if found is None or found[0] is None:
        return None
    cursor = connection.cursor(row_factory=scalar_row)
    return cursor.execute("SELECT version_num FROM alembic_version").fetchone()
