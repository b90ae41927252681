"""Following users. A follow is on the follower's shard."""

from conduit import writes
from conduit.conflicts import retry_on_conflict
from conduit.errors import InvalidError, NotFoundError, UserGoneError, missing_owner_as
from conduit.events import AuthorFollowed
from conduit.ports import Database, Writer
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
        position = _follow(writer, viewer, person.id) if following else _unfollow(writer, viewer, person.id)
        if position is not None:  # it may have been so already
            writer.record(AuthorFollowed(viewer, person.id, following, position=position))
    return profile_from(person, following)


def _follow(writer: Writer, viewer: int, followee: int) -> int | None:
    """The position of the change, if it is one. Raises InvalidError beyond MOST_FOLLOWED."""
    followed = writer.first(writes.FOLLOW, viewer=viewer, followee=followee, most=MOST_FOLLOWED)
    assert followed is not None, "the statement always gives a row"
    if not followed.row.follows:
        raise InvalidError({"username": [f"can't be followed: you follow {MOST_FOLLOWED} people already"]})
    return followed.position


def _unfollow(writer: Writer, viewer: int, followee: int) -> int | None:
    """The position of the change, if it is one. Raises UserGoneError."""
    unfollowed = writer.first(writes.UNFOLLOW, viewer=viewer, followee=followee)
    if unfollowed is None:
        raise UserGoneError
    return unfollowed.position
