"""Signing up and in, and changing what a user says of themself."""

from sqlalchemy import bindparam, select

from conduit import directory, ids, writes
from conduit.errors import NotSignedInError
from conduit.events import UserChanged
from conduit.models import users
from conduit.passwords import Passwords
from conduit.ports import Database
from conduit.request_bodies import Login, NewUser, UserChanges
from conduit.schemas import User
from conduit.statements import Statement
from conduit.tokens import Tokens

_COLUMNS = (users.c.id, users.c.email, users.c.username, users.c.bio, users.c.image)
_BY_ID = Statement("user", select(*_COLUMNS).where(users.c.id == bindparam("user_id")))
_BY_EMAIL = Statement(
    "user by e-mail", select(*_COLUMNS, users.c.password_hash).where(users.c.email == bindparam("email"))
)


def sign_up(database: Database, passwords: Passwords, tokens: Tokens, new: NewUser) -> User:
    """Make a user on a logical shard drawn by lot. Raises InvalidError naming what is taken."""
    password_hash = passwords.hash(new.password)
    names = {"username": new.username, "email": new.email}
    with (
        directory.reserved(database, names, shard=ids.random_shard()) as user_id,
        database.writing(user_id) as writer,
    ):
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
    """Reserve the new names, change the user, release the old names. Raises InvalidError naming what is taken."""
    given = changes.model_dump(exclude_unset=True)
    password_hash = passwords.hash(given["password"]) if "password" in given else None
    names: dict[str, str] = {field: given[field] for field in ("username", "email") if field in given}
    with directory.reserved(database, names, user_id), database.writing(user_id) as writer:
        row = writer.first(
            writes.CHANGE_USER,
            viewer=user_id,
            username=names.get("username"),
            email=names.get("email"),
            password_hash=password_hash,
            # Removed by "" or null.
            bio=given.get("bio") or None,
            bio_given="bio" in given,
            image=given.get("image") or None,
            image_given="image" in given,
        )
        if row is None:
            raise NotSignedInError(message="is of no user here")
        old_username, old_email, username, email, bio, image = row
        writer.record(UserChanged(user_id, username, old_username))
    given_up = {"username": old_username} if old_username != username else {}
    given_up |= {"email": old_email} if old_email != email else {}
    directory.release(database, user_id, given_up)
    return User(email, token, username, bio, image)

