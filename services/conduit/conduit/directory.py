"""The directory: usernames and e-mails are unique across all servers. A name is reserved, used, and later released.

No transaction spans the directory and a user's server. So a name is reserved first, then the user is written with it,
and the user's former name is released last. A process that dies between these steps leaves a name behind: its holder
does not carry it. After a minute no reservation is under way any more. Then the next user who asks for the name takes
it over, unless its holder carries it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, Text, bindparam, select

from conduit.conflicts import retry_on_conflict
from conduit.errors import DuplicateError, TakenError, UnavailableError
from conduit.events import UsernameReleased
from conduit.models import users
from conduit.ports import Database
from conduit.statements import NoRow, Statement, sql_statement

_FIELDS = ("username", "email")
Names = Mapping[str, str]


class Reservation(NamedTuple):
    """The user who holds the names, and since when by the directory's clock; ``at`` is None without a name."""

    user_id: int
    at: str | None


class _ReservedRow(NamedTuple):
    """For each name whether it was reserved, and otherwise the user who has held it for a minute or longer."""

    user_id: int
    at: str
    username_got: bool
    email_got: bool
    username_holder: int | None
    email_holder: int | None


class _NamesRow(NamedTuple):
    username: str
    email: str


_TYPES = {
    "at": Text,
    "email": Text,
    "email_left_by": BigInteger,
    "shard": Integer,
    "user_id": BigInteger,
    "username": Text,
    "username_left_by": BigInteger,
}


def _take_sql(table: str, field: str) -> str:
    """Take one name if it is free, held by the same user already, or left behind by the given user.

    The holder may have reserved it again since it was found left behind, so the minute counts here, too.
    """
    return f"""
        INSERT INTO {table} ({field}, user_id) SELECT :{field}, id FROM holder WHERE :{field} IS NOT NULL
        ON CONFLICT ({field}) DO UPDATE SET user_id = excluded.user_id, reserved_at = now()
        WHERE {table}.user_id = excluded.user_id OR ({table}.user_id = :{field}_left_by AND {_is_old(table)})
        RETURNING user_id
    """


def _holder_sql(table: str, field: str) -> str:
    return f"SELECT user_id FROM {table} WHERE {field} = :{field} AND {_is_old(table)}"


def _is_old(table: str) -> str:
    """Whether a reservation can't be under way any more."""
    return f"{table}.reserved_at < now() - interval '1 minute'"


# Without a user_id, this makes the id of a new user.
_RESERVE = sql_statement(
    "reserve names",
    f"""
    WITH holder AS (SELECT coalesce(:user_id, next_id(:shard)) AS id),
    username_got AS ({_take_sql("usernames", "username")}),
    email_got AS ({_take_sql("emails", "email")})
    SELECT id AS user_id, CAST(now() AS text) AS at,
           EXISTS (SELECT FROM username_got) AS username_got, EXISTS (SELECT FROM email_got) AS email_got,
           ({_holder_sql("usernames", "username")}) AS username_holder,
           ({_holder_sql("emails", "email")}) AS email_holder
    FROM holder
    """,
    _ReservedRow,
    _TYPES,
)
# A name that was reserved again after :at is about to be used again: it stays.
_RELEASE = sql_statement(
    "release names",
    """
    WITH username_gone AS (
        DELETE FROM usernames
        WHERE username = :username AND user_id = :user_id AND reserved_at <= CAST(:at AS timestamptz)
    )
    DELETE FROM emails WHERE email = :email AND user_id = :user_id AND reserved_at <= CAST(:at AS timestamptz)
    """,
    NoRow,
    _TYPES,
)
_CARRIED = Statement(
    "names of a user", select(users.c.username, users.c.email).where(users.c.id == bindparam("user_id")), _NamesRow
)


@contextmanager
def reserved(database: Database, names: Names, user_id: int | None = None, shard: int = 0) -> Iterator[Reservation]:
    """Reserve ``{"username": …, "email": …}``, either or both. The block then writes the user with these names.

    Without ``user_id`` the user is a new one, on ``shard``. The caller releases the user's former names. Raises
    TakenError naming each field that is taken.
    """
    if not names and user_id is not None:
        yield Reservation(user_id, None)
        return
    reservation = _reserve(database, names, user_id, shard)
    try:
        yield reservation
    except UnavailableError:
        # The commit may have succeeded and only its answer was lost. A released name could go to a second user.
        raise
    except DuplicateError as error:
        _release_what_is_not_carried(database, reservation, names)
        taken = [field for field in names if field in error.constraint] or list(names)
        raise TakenError(taken) from error
    except Exception:
        _release_what_is_not_carried(database, reservation, names)
        raise


@retry_on_conflict
def release(database: Database, reservation: Reservation, names: Names) -> None:
    """Release names that the user no longer carries, unless they were reserved again after ``reservation``."""
    if names:
        with database.directory() as directory:
            if "username" in names:
                directory.record(UsernameReleased(names["username"]))
            directory.all(_RELEASE, user_id=reservation.user_id, at=reservation.at, **_both(names))


class _MissedError(Exception):
    """Names that are taken, each with the user who has held it for a minute or longer, if any."""

    def __init__(self, holders: dict[str, int | None]) -> None:
        super().__init__(", ".join(holders))
        self.holders = holders


def _reserve(database: Database, names: Names, user_id: int | None, shard: int) -> Reservation:
    left: dict[str, int] = {}
    while True:
        try:
            return _take(database, names, user_id, shard, left)
        except _MissedError as missed:
            # A name that was left behind at the last attempt and is still taken has a new holder now.
            seen, left = left, _left_behind(database, names, missed.holders)
            if taken := [field for field in missed.holders if field not in left or field in seen]:
                raise TakenError(taken) from missed


@retry_on_conflict
def _take(database: Database, names: Names, user_id: int | None, shard: int, left: Mapping[str, int]) -> Reservation:
    """Reserve all of the names or none: if one is taken, the transaction is rolled back."""
    with database.directory() as directory:
        row = directory.first(
            _RESERVE,
            user_id=user_id,
            shard=shard,
            username_left_by=left.get("username"),
            email_left_by=left.get("email"),
            **_both(names),
        )
        assert row is not None, "the statement always gives a row"
        got = {"username": row.username_got, "email": row.email_got}
        holders = {"username": row.username_holder, "email": row.email_holder}
        if missed := {field: holders[field] for field in names if not got[field]}:
            raise _MissedError(missed)
        return Reservation(row.user_id, row.at)


def _left_behind(database: Database, names: Names, holders: Mapping[str, int | None]) -> dict[str, int]:
    """The names with a known holder who does not carry them, by field."""
    known = {field: holder for field, holder in holders.items() if holder is not None}
    return {field: holder for field, holder in known.items() if field not in _carried(database, holder, names)}


def _carried(database: Database, user_id: int, names: Names) -> set[str]:
    """The fields of the names that the user carries."""
    row = database.reader(user_id).first(_CARRIED, user_id=user_id)
    carried = {} if row is None else row._asdict()
    return {field for field, name in carried.items() if names.get(field) == name}


def _release_what_is_not_carried(database: Database, reservation: Reservation, names: Names) -> None:
    carried = _carried(database, reservation.user_id, names)
    release(database, reservation, {field: name for field, name in names.items() if field not in carried})


def _both(names: Names) -> dict[str, str | None]:
    return {field: names.get(field) for field in _FIELDS}
