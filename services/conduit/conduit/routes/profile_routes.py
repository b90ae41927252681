"""Profiles, and following them."""

from fastapi import APIRouter

from conduit import profiles
from conduit.dependencies import ANYBODY, DatabaseDep, RateLimitedUser, ReadsDep, Username, Viewer
from conduit.errors import NotFoundError
from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.responses import errors
from conduit.schemas import ProfileBody

router = APIRouter(prefix="/api/profiles/{username}", tags=["profiles"], route_class=CompiledRoute)


@router.get("", responses=errors(401, 404, 422, 503), openapi_extra=ANYBODY)
def get_profile(username: Username, viewer: Viewer, reads: ReadsDep) -> ProfileBody:
    """A user's profile."""
    profile = reads.profile(username, viewer)
    if profile is None:
        raise NotFoundError("profile")
    return ProfileBody(profile)


@router.post("/follow", responses=errors(401, 404, 422, 429, 503))
def follow_user(username: Username, user: RateLimitedUser, database: DatabaseDep) -> ProfileBody:
    """Follow a user."""
    return ProfileBody(profiles.follow(database, user, username, following=True))


@router.delete("/follow", responses=errors(401, 404, 422, 429, 503))
def unfollow_user(username: Username, user: RateLimitedUser, database: DatabaseDep) -> ProfileBody:
    """Stop following a user."""
    return ProfileBody(profiles.follow(database, user, username, following=False))
