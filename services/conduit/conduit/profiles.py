"""Following users. A follow is on the follower's shard."""

from conduit import writes
from conduit.conflicts import retry_on_conflict
from conduit.errors import InvalidError, NotFoundError, UserGoneError, missing_owner_as
from conduit.events import AuthorFollowed
from conduit.ports import Database
from conduit.queries import read_person
from conduit.rows import profile_from
from conduit.schemas import Profile

# A feed reads what all of them have published.
MOST_FOLLOWED = 5_000


@retry_on_conflict
def follow(database: Database, viewer: int, username: str, *, following: bool) -> Profile:
    """Follow a user, or stop following; idempotent. Users can't follow themselves.

    Raises NotFoundError, InvalidError, also beyond MOST_FOLLOWED, and UserGoneError if the token outlived its user.
    """
    person = read_person(database, username)
    if person is None:
        raise NotFoundError("profile")
    if person.id == viewer:
        raise InvalidError({"username": ["is your own"]})
    with missing_owner_as(UserGoneError()), database.writing(viewer) as writer:
        if following:
            row = writer.first(writes.FOLLOW, viewer=viewer, followee=person.id, most=MOST_FOLLOWED)
            if row is None or not row.follows:
                raise InvalidError({"username": [f"can't be followed: you follow {MOST_FOLLOWED} people already"]})
        elif writer.first(writes.UNFOLLOW, viewer=viewer, followee=person.id) is None:
            raise UserGoneError
        writer.record(AuthorFollowed(viewer, person.id, following))
    return profile_from(person, following)
