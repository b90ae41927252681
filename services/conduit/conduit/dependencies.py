"""FastAPI dependencies of the routes: types annotated with the function that provides them.

They are plain functions, called in the request's thread; those for ``async def`` routes run on the event loop.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import APIKeyHeader

from conduit import sessions
from conduit.errors import InvalidError, NotSignedInError
from conduit.ids import MAX_ID
from conduit.passwords import Passwords
from conduit.ports import Database, Limits, Media, Page, Reads, Tasks
from conduit.routing.compiled_route import before_large_bodies
from conduit.threads import Threads
from conduit.tokens import Tokens
from conduit.uploads import Uploads
from conduit.validation import FilterText, PathName

MAX_OFFSET = 10_000
MAX_LIMIT = 100

# The app's services ------------------------------------------------------------------------------------------


def _reads(request: Request) -> Reads:
    return request.app.state.services.reads  # type: ignore[no-any-return]  # Starlette's State has no types


def _database(request: Request) -> Database:
    return request.app.state.services.database  # type: ignore[no-any-return]


def _media(request: Request) -> Media:
    return request.app.state.services.media  # type: ignore[no-any-return]


def _tasks(request: Request) -> Tasks:
    return request.app.state.services.tasks  # type: ignore[no-any-return]


def _limits(request: Request) -> Limits:
    return request.app.state.services.limits  # type: ignore[no-any-return]


def _tokens(request: Request) -> Tokens:
    return request.app.state.services.tokens  # type: ignore[no-any-return]


def _passwords(request: Request) -> Passwords:
    return request.app.state.services.passwords  # type: ignore[no-any-return]


ReadsDep = Annotated[Reads, Depends(_reads)]
DatabaseDep = Annotated[Database, Depends(_database)]
MediaDep = Annotated[Media, Depends(_media)]
TasksDep = Annotated[Tasks, Depends(_tasks)]
LimitsDep = Annotated[Limits, Depends(_limits)]
TokensDep = Annotated[Tokens, Depends(_tokens)]
PasswordsDep = Annotated[Passwords, Depends(_passwords)]

# For ``async def`` routes: the threads, and slots for scarce resources ---------------------------------------


async def _threads(request: Request) -> Threads:
    return request.app.state.threads  # type: ignore[no-any-return]


async def _uploads(request: Request) -> Uploads:
    return request.app.state.uploads  # type: ignore[no-any-return]


ThreadsDep = Annotated[Threads, Depends(_threads)]
UploadsDep = Annotated[Uploads, Depends(_uploads)]

# Authentication ----------------------------------------------------------------------------------------------

_header = APIKeyHeader(
    name="Authorization", scheme_name="Token", description="`Token <JWT>`, as signing in returns it", auto_error=False
)
# For routes without required authentication: FastAPI's description would call the token required.
ANYBODY: dict[str, Any] = {"security": [{}]}


def sent_token(header: Annotated[str | None, Security(_header)]) -> str | None:
    """The token of the request, if it has one."""
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip(" \t") if scheme.lower() in ("token", "bearer") else None


Token = Annotated[str | None, Depends(sent_token)]


def viewer(token: Token, tokens: TokensDep) -> int | None:
    """The signed-in user's id, or None without a token. Raises NotSignedInError for an invalid token."""
    if token is None:
        return None
    user_id = tokens.user_id(token)
    sessions.signed_in(user_id)
    return user_id


Viewer = Annotated[int | None, Depends(viewer)]


@before_large_bodies
def current_user(viewer: Viewer) -> int:
    """The signed-in user's id. Raises NotSignedInError without a token."""
    if viewer is None:
        raise NotSignedInError
    return viewer


CurrentUser = Annotated[int, Depends(current_user)]


def rate_limited_user(user: CurrentUser, limits: LimitsDep) -> int:
    """The signed-in user's id, for a route that writes. Raises TooManyError beyond the rate limit."""
    limits.count_write(str(user))
    return user


RateLimitedUser = Annotated[int, Depends(rate_limited_user)]


def client_address(request: Request) -> str:
    """The client's address: the last in X-Forwarded-For that is not a trusted proxy's.

    It is a dependency of signing in and up only, so that no other request pays for it.
    """
    address = request.client.host if request.client else "unknown"
    # Each proxy appends the address that it saw.
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    trusted: Sequence[IPv4Network | IPv6Network] = request.app.state.trusted_proxies
    while forwarded and _is_in(address, trusted):
        address = forwarded.pop().strip() or address
    return address


ClientAddress = Annotated[str, Depends(client_address)]


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


# Parameters --------------------------------------------------------------------------------------------------

RowId = Annotated[int, Path(ge=0, le=MAX_ID)]
Username = PathName
Filter = FilterText | None
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many rows at most.")]
Offset = Annotated[
    int,
    Query(
        ge=0,
        description=f"How many of the newest rows to skip, up to {MAX_OFFSET}.",
        json_schema_extra={"maximum": MAX_OFFSET},  # checked by ``page``, whose error says what to do instead
    ),
]
Before = Annotated[
    int | None, Query(ge=0, le=MAX_ID, description="Only rows older than this id: keyset pagination, without a limit.")
]


def page(limit: Limit = 20, offset: Offset = 0, before: Before = None) -> Page:
    """The page of a list. Offsets beyond MAX_OFFSET are refused: skipping so many rows costs too much."""
    if offset > MAX_OFFSET:
        raise InvalidError(
            {"offset": [f"must be at most {MAX_OFFSET}; for older rows use before=<id at the end of the last slug>"]}
        )
    return Page(limit, offset, MAX_ID + 1 if before is None else before)


ListPage = Annotated[Page, Depends(page)]
