"""Profiles, and following them."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import profiles
from conduit.errors import NotFoundError
from conduit.http import answer, services, viewer_of, writer_of
from conduit.routing import Endpoint
from conduit.schemas import ProfileBody
from conduit.validation import one_form


def show(request: Request) -> Response:
    """A user's profile."""
    profile = services(request).reads.profile(_username(request), viewer_of(request))
    if profile is None:
        raise NotFoundError("profile")
    return answer(ProfileBody(profile))


def follow(request: Request) -> Response:
    """Follow a user."""
    return _follow(request, following=True)


def unfollow(request: Request) -> Response:
    """Follow a user no longer."""
    return _follow(request, following=False)


def _follow(request: Request, *, following: bool) -> Response:
    viewer = writer_of(request)
    found = profiles.follow(services(request).database, viewer, _username(request), following=following)
    return answer(ProfileBody(found))


def _username(request: Request) -> str:
    return one_form(request.path_params["username"])


_PATH = "/api/profiles/{username}"
ENDPOINTS = (
    Endpoint("GET", _PATH, show, "profiles", gives=ProfileBody),
    Endpoint("POST", f"{_PATH}/follow", follow, "profiles", gives=ProfileBody, signed_in=True),
    Endpoint("DELETE", f"{_PATH}/follow", unfollow, "profiles", gives=ProfileBody, signed_in=True),
)
