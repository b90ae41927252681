"""Signing up, signing in, and the signed-in user."""

from starlette.requests import Request
from starlette.responses import Response

from conduit import users, validation
from conduit.errors import NotSignedInError
from conduit.http import address_of, answer, decoded, services, signed_in, token_of, writer_of
from conduit.routing import Endpoint
from conduit.schemas import LoginBody, NewUserBody, UserBody, UserChangesBody


def sign_up(request: Request, body: bytes) -> Response:
    """Sign up."""
    new = validation.new_user(decoded(body, NewUserBody).user)
    use = services(request)
    use.limits.count_sign_in(address_of(request), new.email)
    return answer(UserBody(users.sign_up(use.database, use.passwords, use.tokens, new)), 201)


def sign_in(request: Request, body: bytes) -> Response:
    """Sign in."""
    login = validation.login(decoded(body, LoginBody).user)
    use = services(request)
    use.limits.count_sign_in(address_of(request), login.email)
    return answer(UserBody(users.sign_in(use.database, use.passwords, use.tokens, login)))


def current(request: Request) -> Response:
    """Who is signed in."""
    viewer = signed_in(request)
    return answer(UserBody(users.current(services(request).database, viewer, _token(request))))


def change(request: Request, body: bytes) -> Response:
    """Change the signed-in user."""
    viewer = writer_of(request)
    changes = validation.user_changes(decoded(body, UserChangesBody).user)
    use = services(request)
    return answer(UserBody(users.change(use.database, use.passwords, viewer, _token(request), changes)))


def _token(request: Request) -> str:
    token = token_of(request)
    if token is None:
        raise NotSignedInError
    return token


ENDPOINTS = (
    Endpoint("POST", "/api/users", sign_up, "users", takes=NewUserBody, gives=UserBody, status=201),
    Endpoint("POST", "/api/users/login", sign_in, "users", takes=LoginBody, gives=UserBody),
    Endpoint("GET", "/api/user", current, "users", gives=UserBody, signed_in=True),
    Endpoint("PUT", "/api/user", change, "users", takes=UserChangesBody, gives=UserBody, signed_in=True),
)
