"""Following: a follow lives with the follower."""

from conduit import writes
from conduit.adapters.reads_sql import profile_from
from conduit.adapters.reads_statements import PROFILE
from conduit.errors import InvalidError, MissingOwnerError, NotFoundError, NotSignedInError
from conduit.events import AuthorFollowed
from conduit.ports import Database
from conduit.schemas import Profile


def follow(database: Database, viewer: int, username: str, *, following: bool) -> Profile:
    """Follow somebody, or no longer. Doing so twice changes nothing. Nobody follows themself."""
    found = database.find_username(username)
    row = found.reader.first(PROFILE, username=username, username_id=found.user_id) if found else None
    if row is None:
        raise NotFoundError("profile")
    if row[0] == viewer:
        raise InvalidError({"username": ["is your own"]})
    try:
        with database.writing(viewer) as writer:
            statement = writes.FOLLOW if following else writes.UNFOLLOW
            writer.all(statement, viewer=viewer, followee=row[0])
            writer.record(AuthorFollowed(viewer, row[0], following))
    except MissingOwnerError as error:
        raise NotSignedInError(message="is of no user here") from error
    return profile_from(row, following)
