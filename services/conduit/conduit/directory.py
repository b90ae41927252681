"""Names that must be unique everywhere, while their users live on many servers: reserve, change, release.

No transaction spans the directory and a user's server. A name is reserved first, then the user is written, then the
name is confirmed; a name that is given up is released last. Whatever dies half-way leaves a reservation that nobody
confirmed, and the next one who wants that name after a minute looks whether its holder really carries it.
"""

from typing import NamedTuple

from sqlalchemy import bindparam, select

from conduit import writes
from conduit.errors import InvalidError
from conduit.models import users
from conduit.ports import Database
from conduit.statements import Statement

_HELD = Statement("names of", select(users.c.username, users.c.email).where(users.c.id == bindparam("user_id")))


class _Kind(NamedTuple):
    field: str
    reserve: Statement
    confirm: Statement
    release: Statement
    stale: Statement


_KINDS = (
    _Kind(
        "username",
        writes.RESERVE_USERNAME,
        writes.CONFIRM_USERNAME,
        writes.RELEASE_USERNAME,
        writes.STALE_USERNAME,
    ),
    _Kind("email", writes.RESERVE_EMAIL, writes.CONFIRM_EMAIL, writes.RELEASE_EMAIL, writes.STALE_EMAIL),
)

Names = dict[str, str]


def reserve(database: Database, user_id: int, names: Names) -> None:
    """Reserve ``{"username": …, "email": …}``, either or both. Raises InvalidError naming each field that is taken."""
    _take_over_what_died(database, names)
    taken: dict[str, list[str]] = {}
    with database.directory() as directory:
        for kind in _KINDS:
            name = names.get(kind.field)
            if name is not None and directory.first(kind.reserve, name=name, user_id=user_id) is None:
                taken[kind.field] = ["has already been taken"]
        if taken:
            raise InvalidError(taken)


def confirm(database: Database, user_id: int, names: Names) -> None:
    """The user carries these names now."""
    _each(database, user_id, names, confirm=True)


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
        (confirm if really else release)(database, holder[0], {kind.field: name})
