"""Signing up, signing in, and the signed-in user."""

from fastapi import APIRouter, Request, Response

from conduit import users, validation
from conduit.errors import NotSignedInError
from conduit.http import Body, address_of, answer, decoded, describe, services, signed_in, token_of, writer_of
from conduit.schemas import LoginBody, NewUserBody, UserBody, UserChangesBody

router = APIRouter(tags=["users"])


@router.post("/users", status_code=201, openapi_extra=describe(NewUserBody, UserBody, 201, open_to_all=True))
def sign_up(request: Request, body: Body) -> Response:
    new = validation.new_user(decoded(body, NewUserBody).user)
    use = services(request)
    use.limits.count_sign_in(address_of(request), new.email)
    return answer(UserBody(users.sign_up(use.database, use.passwords, use.tokens, new)), 201)


@router.post("/users/login", openapi_extra=describe(LoginBody, UserBody, open_to_all=True))
def sign_in(request: Request, body: Body) -> Response:
    login = validation.login(decoded(body, LoginBody).user)
    use = services(request)
    use.limits.count_sign_in(address_of(request), login.email)
    return answer(UserBody(users.sign_in(use.database, use.passwords, use.tokens, login)))


@router.get("/user", openapi_extra=describe(None, UserBody, open_to_all=False))
def current(request: Request) -> Response:
    viewer = signed_in(request)
    return answer(UserBody(users.current(services(request).database, viewer, _token(request))))


@router.put("/user", openapi_extra=describe(UserChangesBody, UserBody, open_to_all=False))
def change(request: Request, body: Body) -> Response:
    viewer = writer_of(request)
    changes = validation.user_changes(decoded(body, UserChangesBody).user)
    use = services(request)
    return answer(UserBody(users.change(use.database, use.passwords, viewer, _token(request), changes)))


def _token(request: Request) -> str:
    token = token_of(request)
    if token is None:
        raise NotSignedInError
    return token
