"""Profiles, and following them."""

from fastapi import APIRouter, Request, Response

from conduit import profiles
from conduit.errors import NotFoundError
from conduit.http import answer, describe, services, viewer_of, writer_of
from conduit.schemas import ProfileBody

router = APIRouter(prefix="/profiles/{username}", tags=["profiles"])


@router.get("", openapi_extra=describe(None, ProfileBody, open_to_all=True))
def show(request: Request, username: str) -> Response:
    profile = services(request).reads.profile(username, viewer_of(request))
    if profile is None:
        raise NotFoundError("profile")
    return answer(ProfileBody(profile))


@router.post("/follow", openapi_extra=describe(None, ProfileBody, open_to_all=False))
def follow(request: Request, username: str) -> Response:
    viewer = writer_of(request)
    return answer(ProfileBody(profiles.follow(services(request).database, viewer, username, following=True)))


@router.delete("/follow", openapi_extra=describe(None, ProfileBody, open_to_all=False))
def unfollow(request: Request, username: str) -> Response:
    viewer = writer_of(request)
    return answer(ProfileBody(profiles.follow(services(request).database, viewer, username, following=False)))
