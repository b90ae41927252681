"""What can go wrong with a database while it is filled, said in a sentence that names the remedy."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import psycopg
from psycopg import errors

INTERRUPTED = 130
FAILED = 1


class Refused(Exception):
    """The work cannot or must not be done; the text is for the user and says what to do instead."""


@contextlib.contextmanager
def explained(server: str) -> Iterator[None]:
    """Turns a driver's error into a Refused that names the server and the remedy."""
    try:
        yield
    except psycopg.Error as error:
        raise Refused(explain(error, server)) from error


def explain(error: psycopg.Error, server: str) -> str:
    """One sentence or two on a driver's error: what happened on ``server`` (a label, no password) and what helps."""
    remedies: list[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], str]] = [
        (
            (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject),
            "its schema is missing or another version's: start the stage (`make stageN up`), which migrates it",
        ),
        (
            errors.DiskFull,
            "its disk is full; nothing was changed. Free some space (`docker system df` shows what takes it) "
            "and try again",
        ),
        (
            (errors.LockNotAvailable, errors.DeadlockDetected),
            "its tables are in use and could not be locked; stop the load on it and try again",
        ),
        (errors.InsufficientPrivilege, "this user may not write there; use the user that owns the tables"),
        (
            (errors.InvalidPassword, errors.InvalidAuthorizationSpecification, errors.InvalidCatalogName),
            "it refused the sign-in; check PGPASSWORD (secrets/database.env), the user and the database's name",
        ),
        (errors.OutOfMemory, "it ran out of memory; nothing was changed. Give the box more (BOX_MEMORY in .env)"),
    ]
    for kind, remedy in remedies:
        if isinstance(error, kind):
            return f"{server}: {remedy}. ({first_line(error)})"
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return (
            f"{server}: the database cannot be reached or went away; what was not committed is undone. "
            f"Is the stage up? `make stageN status` says. ({first_line(error)})"
        )
    return f"{server}: the database refused: {first_line(error)}. Nothing was changed."


def first_line(error: BaseException) -> str:
    """The first line of an error's text, which is what PostgreSQL puts the message into."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(command: Callable[[], int], unchanged: str) -> int:
    """Runs a command to its exit code; no traceback reaches the user.

    ``unchanged`` is what an interruption leaves. SIGTERM counts as one: a container's first process would
    ignore it.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return command()
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"\ninterrupted: {unchanged}", file=sys.stderr)
        return INTERRUPTED
