"""Names that must be unique everywhere, while their users live on many servers: reserve, change, release.

No transaction spans the directory and a user's server. A name is reserved first, then the user is written, then the
name is confirmed; a name that is given up is confirmed no more, and released last. Whatever dies half-way leaves a name
that is not confirmed, and the next one who wants it after a minute looks whether its holder really carries it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import bindparam, select

from conduit import writes
from conduit.errors import DuplicateError, InvalidError, UnavailableError
from conduit.models import users
from conduit.ports import Database
from conduit.statements import Statement

_HELD = Statement("names of", select(users.c.username, users.c.email).where(users.c.id == bindparam("user_id")))


class _Kind(NamedTuple):
    field: str
    reserve: Statement
    confirm: Statement
    doubt: Statement
    release: Statement
    stale: Statement


_KINDS = (
    _Kind(
        "username",
        writes.RESERVE_USERNAME,
        writes.CONFIRM_USERNAME,
        writes.DOUBT_USERNAME,
        writes.RELEASE_USERNAME,
        writes.STALE_USERNAME,
    ),
    _Kind(
        "email",
        writes.RESERVE_EMAIL,
        writes.CONFIRM_EMAIL,
        writes.DOUBT_EMAIL,
        writes.RELEASE_EMAIL,
        writes.STALE_EMAIL,
    ),
)

_TAKEN = "has already been taken"
Names = dict[str, str]


@contextmanager
def reserved(database: Database, user_id: int, names: Names, instead_of: Names) -> Iterator[None]:
    """Hold ``{"username": …, "email": …}``, either or both, while the block gives them to the user.

    ``instead_of`` are those that the block takes away; releasing them is the caller's. Raises InvalidError naming each
    field that is taken.
    """
    if not names:
        yield
        return
    _reserve(database, user_id, names, instead_of)
    try:
        yield
    except UnavailableError:
        # Perhaps it was committed, and only the answer was lost. Released, the name could be given to a second one.
        raise
    except DuplicateError as error:
        release(database, user_id, names)
        taken = [field for field in names if field in error.constraint] or list(names)
        raise InvalidError({field: [_TAKEN] for field in taken}) from error
    except Exception:
        release(database, user_id, names)
        raise
    _each(database, user_id, names, confirm=True)


def _reserve(database: Database, user_id: int, names: Names, instead_of: Names) -> None:
    _take_over_what_died(database, names)
    taken: dict[str, list[str]] = {}
    with database.directory() as directory:
        for kind in _KINDS:
            name = names.get(kind.field)
            if name is not None and directory.first(kind.reserve, name=name, user_id=user_id) is None:
                taken[kind.field] = [_TAKEN]
        if taken:
            raise InvalidError(taken)
        for kind in _KINDS:
            if kind.field in instead_of:
                directory.all(kind.doubt, name=instead_of[kind.field], user_id=user_id)


def release(database: Database, user_id: int, names: Names) -> None:
    """The user does not carry these names, or no longer."""
    _each(database, user_id, names, confirm=False)


def _each(database: Database, user_id: int, names: Names, *, confirm: bool) -> None:
    if not names:
        return
    with database.directory() as directory:
        for kind in _KINDS:
            if kind.field in names:
                statement = kind.confirm if confirm else kind.release
                directory.all(statement, name=names[kind.field], user_id=user_id)


def _take_over_what_died(database: Database, names: Names) -> None:
    for position, kind in enumerate(_KINDS):
        name = names.get(kind.field)
        if name is None:
            continue
        with database.directory() as directory:
            holder = directory.first(kind.stale, name=name)
        if holder is None:
            continue
        held = database.reader(holder[0]).first(_HELD, user_id=holder[0])
        really = held is not None and held[position] == name
        _each(database, holder[0], {kind.field: name}, confirm=really)
