"""Names that must be unique everywhere, while their users live on many servers: reserve, change, release.

No transaction spans the directory and a user's server. A name is reserved first, then the user is written with it, and
a name that was given up is released last. What dies half-way leaves a name whose holder does not carry it. Whoever
wants a name that has been held for a minute or longer looks whether its holder really carries it, and takes it if not:
no step of a sign-up or a change is left that takes a minute.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import bindparam, select

from conduit import writes
from conduit.errors import DuplicateError, InvalidError, UnavailableError
from conduit.models import users
from conduit.ports import Database
from conduit.statements import Statement

_CARRIED = Statement("names of", select(users.c.username, users.c.email).where(users.c.id == bindparam("user_id")))
_FIELDS = ("username", "email")
_TAKEN = "has already been taken"
Names = Mapping[str, str]


@contextmanager
def reserved(database: Database, names: Names, user_id: int | None = None, shard: int = 0) -> Iterator[int]:
    """Hold ``{"username": …, "email": …}``, either or both, while the block gives them to the user; gives their id.

    Without ``user_id`` it is a new one, on ``shard``. Names that the block takes away are the caller's to release.
    Raises InvalidError naming each field that is taken.
    """
    if not names and user_id is not None:
        yield user_id
        return
    holder = _reserve(database, names, user_id, shard)
    try:
        yield holder
    except UnavailableError:
        # Perhaps it was committed, and only the answer was lost. Released, the name could be given to a second one.
        raise
    except DuplicateError as error:
        _release_what_is_not_carried(database, holder, names)
        taken = [field for field in names if field in error.constraint] or list(names)
        raise InvalidError({field: [_TAKEN] for field in taken}) from error
    except Exception:
        _release_what_is_not_carried(database, holder, names)
        raise


def release(database: Database, user_id: int, names: Names) -> None:
    """The user does not carry these names, or no longer."""
    if names:
        with database.directory() as directory:
            directory.all(writes.RELEASE, user_id=user_id, **_both(names))


class _MissedError(Exception):
    """Names that were not got, with who has held each for a minute, if anybody has."""

    def __init__(self, holders: dict[str, int | None]) -> None:
        super().__init__(", ".join(holders))
        self.holders = holders


def _reserve(database: Database, names: Names, user_id: int | None, shard: int) -> int:
    left: dict[str, int] = {}
    while True:
        try:
            return _take(database, names, user_id, shard, left)
        except _MissedError as missed:
            # What was left behind the last time and is still not got has a new holder now.
            seen, left = left, _left_behind(database, names, missed.holders)
            if taken := [field for field in missed.holders if field not in left or field in seen]:
                raise InvalidError({field: [_TAKEN] for field in taken}) from missed


def _take(database: Database, names: Names, user_id: int | None, shard: int, left: Mapping[str, int]) -> int:
    """All of the names or, by the transaction, none."""
    with database.directory() as directory:
        row = directory.first(
            writes.RESERVE,
            user_id=user_id,
            shard=shard,
            username_left_by=left.get("username"),
            email_left_by=left.get("email"),
            **_both(names),
        )
        assert row is not None, "the statement always gives a row"
        holder, got, held_by = (
            row[0],
            dict(zip(_FIELDS, row[1:3], strict=True)),
            dict(zip(_FIELDS, row[3:5], strict=True)),
        )
        if missed := {field: held_by[field] for field in names if not got[field]}:
            raise _MissedError(missed)
        return int(holder)


def _left_behind(database: Database, names: Names, holders: Mapping[str, int | None]) -> dict[str, int]:
    """Of these names those whose holder is known and does not carry them."""
    known = {field: holder for field, holder in holders.items() if holder is not None}
    return {field: holder for field, holder in known.items() if field not in _carried(database, holder, names)}


def _carried(database: Database, user_id: int, names: Names) -> set[str]:
    """The fields of those of these names that the user carries."""
    row = database.reader(user_id).first(_CARRIED, user_id=user_id)
    return (
        set() if row is None else {field for field, name in zip(_FIELDS, row, strict=True) if names.get(field) == name}
    )


def _release_what_is_not_carried(database: Database, user_id: int, names: Names) -> None:
    carried = _carried(database, user_id, names)
    release(database, user_id, {field: name for field, name in names.items() if field not in carried})


def _both(names: Names) -> dict[str, str | None]:
    return {field: names.get(field) for field in _FIELDS}
