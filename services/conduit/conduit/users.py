"""Signing up and in, and changing what a user says of themself."""

from typing import Any

from sqlalchemy import bindparam, select

from conduit import directory, ids, writes
from conduit.errors import NotSignedInError
from conduit.events import UserChanged
from conduit.models import users
from conduit.passwords import Passwords
from conduit.ports import Database
from conduit.schemas import Login, NewUser, User, UserChanges, is_set
from conduit.statements import Statement
from conduit.tokens import Tokens

_COLUMNS = (users.c.id, users.c.email, users.c.username, users.c.bio, users.c.image)
_CHANGEABLE = ("username", "email", "bio", "image", "password_hash")
_BY_ID = Statement("user", select(*_COLUMNS).where(users.c.id == bindparam("user_id")))
_BY_EMAIL = Statement(
    "user by e-mail", select(*_COLUMNS, users.c.password_hash).where(users.c.email == bindparam("email"))
)


def sign_up(database: Database, passwords: Passwords, tokens: Tokens, new: NewUser) -> User:
    """Make a user on a logical shard drawn by lot. Raises InvalidError naming what is taken."""
    password_hash = passwords.hash(new.password)
    shard = ids.random_shard()
    owner = ids.compose(0, shard, 0)
    with database.writing(owner) as writer:
        user_id: int = _only(writer.first(writes.NEW_ID, shard=shard))[0]
    names = {"username": new.username, "email": new.email}
    with directory.reserved(database, user_id, names, instead_of={}), database.writing(user_id) as writer:
        writer.all(writes.INSERT_USER, user_id=user_id, password_hash=password_hash, **names)
        writer.record(UserChanged(user_id, new.username))
    return User(new.email, tokens.issue(user_id), new.username, None, None)


def sign_in(database: Database, passwords: Passwords, tokens: Tokens, login: Login) -> User:
    """The user with a new token. Raises NotSignedInError, without saying which of the two was wrong."""
    found = database.find_email(login.email)
    row = found.reader.first(_BY_EMAIL, email=login.email) if found else None
    if not passwords.matches(login.password, row[5] if row else None) or row is None:
        raise NotSignedInError("credentials", "invalid")
    return User(row[1], tokens.issue(row[0]), *row[2:5])


def current(database: Database, user_id: int, token: str) -> User:
    """Who is signed in. Raises NotSignedInError where the token outlived its user."""
    row = database.reader(user_id).first(_BY_ID, user_id=user_id)
    if row is None:
        raise NotSignedInError(message="is of no user here")
    return User(row[1], token, *row[2:])


def change(database: Database, passwords: Passwords, user_id: int, token: str, changes: UserChanges) -> User:
    """Reserve the new names, change the user, release the old names."""
    password_hash = passwords.hash(changes.password) if isinstance(changes.password, str) else None
    wanted = {field: value for field in ("username", "email") if isinstance(value := getattr(changes, field), str)}
    before = current(database, user_id, token)
    fresh = {field: value for field, value in wanted.items() if getattr(before, field) != value}
    replaced = {field: getattr(before, field) for field in fresh}
    with (
        directory.reserved(database, user_id, fresh, instead_of=replaced),
        database.writing(user_id) as writer,
    ):
        row = writer.first(writes.LOCK_USER, viewer=user_id)
        old = dict(zip(_CHANGEABLE, _only(row), strict=True))
        new = old | {
            field: getattr(changes, field)
            for field in ("username", "email", "bio", "image")
            if is_set(getattr(changes, field))
        }
        new["password_hash"] = password_hash or old["password_hash"]
        writer.all(writes.UPDATE_USER, viewer=user_id, **{f"new_{key}": value for key, value in new.items()})
        writer.record(UserChanged(user_id, new["username"], old["username"]))
    # What this change replaced, as the transaction saw it: another change may have come in between.
    given_up = {field: old[field] for field in ("username", "email") if old[field] != new[field]}
    directory.release(database, user_id, given_up)
    return User(new["email"], token, new["username"], new["bio"], new["image"])


def _only(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "the statement always gives a row"
    return row
