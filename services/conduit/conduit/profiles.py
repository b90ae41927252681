"""Following users. A follow is on the follower's shard."""

from conduit import writes
from conduit.conflicts import retry_on_conflict
from conduit.errors import InvalidError, NotFoundError, UserGoneError, missing_owner_as
from conduit.events import AuthorFollowed
from conduit.ports import Database
from conduit.queries import read_person, require_user
from conduit.rows import profile_from
from conduit.schemas import Profile


@retry_on_conflict
def follow(database: Database, viewer: int, username: str, *, following: bool) -> Profile:
    """Follow a user, or stop following; idempotent. Users can't follow themselves.

    Raises NotFoundError, InvalidError, and UserGoneError if the token outlived its user.
    """
    person = read_person(database, username)
    if person is None:
        raise NotFoundError("profile")
    if person.id == viewer:
        raise InvalidError({"username": ["is your own"]})
    if not following:
        require_user(database, viewer)
    with missing_owner_as(UserGoneError()), database.writing(viewer) as writer:
        writer.all(writes.FOLLOW if following else writes.UNFOLLOW, viewer=viewer, followee=person.id)
        writer.record(AuthorFollowed(viewer, person.id, following))
    return profile_from(person, following)
