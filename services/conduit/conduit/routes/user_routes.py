"""Signing up, signing in, and the signed-in user."""

from typing import Annotated

from fastapi import APIRouter, Depends

from conduit import users
from conduit.dependencies import (
    ClientAddress,
    CurrentUser,
    DatabaseDep,
    LimitsDep,
    PasswordsDep,
    RateLimitedUser,
    Token,
    TokensDep,
)
from conduit.errors import NotSignedInError
from conduit.request_bodies import LoginBody, NewUserBody, UserChangesBody
from conduit.routing.compiled_route import CompiledRoute, behind
from conduit.routing.responses import errors
from conduit.schemas import UserBody

SIGN_UP, LOGIN = BY_ANYBODY = "/api/users", "/api/users/login"

router = APIRouter(tags=["users"], route_class=CompiledRoute)


@router.post(SIGN_UP, status_code=201, responses=errors(408, 409, 413, 422, 429, 503))
@behind("hashing")
def sign_up(
    body: NewUserBody,
    address: ClientAddress,
    database: DatabaseDep,
    limits: LimitsDep,
    passwords: PasswordsDep,
    tokens: TokensDep,
) -> UserBody:
    """Sign up."""
    limits.count_sign_in(address, body.user.email)
    user = users.sign_up(database, passwords, tokens, body.user)
    limits.signed_in(address, user.email)
    return UserBody(user)


@router.post(LOGIN, responses=errors(401, 408, 413, 422, 429, 503))
@behind("hashing")
def sign_in(
    body: LoginBody,
    address: ClientAddress,
    database: DatabaseDep,
    limits: LimitsDep,
    passwords: PasswordsDep,
    tokens: TokensDep,
) -> UserBody:
    """Sign in."""
    limits.count_sign_in(address, body.user.email)
    user = users.sign_in(database, passwords, tokens, body.user)
    limits.signed_in(address, user.email)
    return UserBody(user)


def given_token(token: Token) -> str:
    """The request's token. Raises NotSignedInError without one."""
    if token is None:
        raise NotSignedInError
    return token


GivenToken = Annotated[str, Depends(given_token)]


@router.get("/api/user", responses=errors(401, 503))
def get_current_user(user: CurrentUser, token: GivenToken, database: DatabaseDep) -> UserBody:
    """The signed-in user."""
    return UserBody(users.current(database, user, token))


@router.put("/api/user", responses=errors(401, 408, 409, 413, 422, 429, 503))
def change_current_user(
    body: UserChangesBody, user: RateLimitedUser, token: GivenToken, database: DatabaseDep, passwords: PasswordsDep
) -> UserBody:
    """Change the signed-in user."""
    return UserBody(users.change(database, passwords, user, token, body.user))
