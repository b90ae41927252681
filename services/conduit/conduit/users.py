"""Signing up, signing in, and changing a user."""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select

from conduit import directory, ids, sessions, writes
from conduit.conflicts import retry_on_conflict
from conduit.errors import NotSignedInError, UserGoneError
from conduit.events import UserChanged
from conduit.models import users
from conduit.passwords import Passwords
from conduit.ports import Database, Reader
from conduit.request_bodies import Login, NewUser, UserChanges
from conduit.rows import ChangedUserRow
from conduit.schemas import User
from conduit.statements import Statement
from conduit.tokens import Tokens


class _UserRow(NamedTuple):
    id: int
    email: str
    username: str
    bio: str | None
    image: str | None


class _LoginRow(NamedTuple):
    id: int
    email: str
    username: str
    bio: str | None
    image: str | None
    password_hash: str


_COLUMNS = (users.c.id, users.c.email, users.c.username, users.c.bio, users.c.image)
_BY_ID = Statement("user", select(*_COLUMNS).where(users.c.id == bindparam("user_id")), _UserRow)
_BY_EMAIL = Statement(
    "user by e-mail", select(*_COLUMNS, users.c.password_hash).where(users.c.email == bindparam("email")), _LoginRow
)


def sign_up(database: Database, passwords: Passwords, tokens: Tokens, new: NewUser) -> User:
    """Create a user on a random logical shard. Raises TakenError naming each field that is taken."""
    password_hash = passwords.hash(new.password)
    names = {"username": new.username, "email": new.email}
    with directory.reserved(database, names, shard=ids.random_shard()) as (user_id, _):
        sessions.signed_in(user_id)
        _insert(database, user_id, names, password_hash)
    return User(new.email, tokens.issue(user_id), new.username, None, None)


@retry_on_conflict
def _insert(database: Database, user_id: int, names: directory.Names, password_hash: str) -> None:
    with database.writing(user_id) as writer:
        writer.all(writes.INSERT_USER, user_id=user_id, password_hash=password_hash, **names)
        writer.record(UserChanged(user_id, names["username"]))


def sign_in(database: Database, passwords: Passwords, tokens: Tokens, login: Login) -> User:
    """The user with a new token. Raises NotSignedInError, which does not say whether e-mail or password was wrong.

    An unknown e-mail costs as many queries as a known one, and a password hash. So neither the response time nor its
    headers reveal which e-mails are known.
    """
    found = database.find_email(login.email)
    reader = found.reader if found else _some_reader(database, login.email)
    row = reader.first(_BY_EMAIL, email=login.email)
    if not passwords.matches(login.password, row.password_hash if row else None) or row is None:
        raise NotSignedInError("credentials", "invalid")
    return User(row.email, tokens.issue(row.id), row.username, row.bio, row.image)


def _some_reader(database: Database, email: str) -> Reader:
    """A stand-in for an unknown user's server: always the same one for an e-mail."""
    readers = database.readers()
    return readers[zlib.crc32(email.encode()) % len(readers)]


def current(database: Database, user_id: int, token: str) -> User:
    """The signed-in user. Raises UserGoneError if the token outlived its user."""
    row = database.reader(user_id).first(_BY_ID, user_id=user_id)
    if row is None:
        raise UserGoneError
    return User(row.email, token, row.username, row.bio, row.image)


def change(database: Database, passwords: Passwords, user_id: int, token: str, changes: UserChanges) -> User:
    """Reserve the new names, change the user, release the old names.

    Raises TakenError naming each field that is taken, and UserGoneError.
    """
    given = changes.model_dump(exclude_unset=True)
    password_hash = passwords.hash(given["password"]) if "password" in given else None
    names: dict[str, str] = {field: given[field] for field in ("username", "email") if field in given}
    with directory.reserved(database, names, user_id) as reservation:
        row = _change(database, user_id, given, password_hash)
    given_up = {"username": row.former_username} if row.former_username != row.username else {}
    given_up |= {"email": row.former_email} if row.former_email != row.email else {}
    directory.release(database, reservation, given_up)
    return User(row.email, token, row.username, row.bio, row.image)


@retry_on_conflict
def _change(database: Database, user_id: int, given: Mapping[str, Any], password_hash: str | None) -> ChangedUserRow:
    """Write the given fields, of which ``bio`` and ``image`` are removed by "" or null. Raises UserGoneError."""
    with database.writing(user_id) as writer:
        row = writer.first(
            writes.CHANGE_USER,
            viewer=user_id,
            username=given.get("username"),
            email=given.get("email"),
            password_hash=password_hash,
            bio=given.get("bio") or None,
            bio_given="bio" in given,
            image=given.get("image") or None,
            image_given="image" in given,
        )
        if row is None:
            raise UserGoneError
        if row.shows:
            writer.record(UserChanged(user_id, row.username, row.former_username))
    return row
