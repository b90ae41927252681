"""Reading a request's body. ``middleware/request_limits.py`` limits its size and time."""

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from conduit.errors import HungUpError

# From this on a body counts towards the memory of all, and is read only where its sender may send it. The balancer has
# the same number.
LARGE_BYTES = 16_000


async def read_body(request: Request) -> bytes:
    """The complete body. Raises HungUpError if the client closes the connection before."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HungUpError from error


def has_body(scope: Scope) -> bool:
    return content_length(scope) != 0


def is_large(scope: Scope) -> bool:
    """Whether its body is, or may be, as it says no length."""
    length = content_length(scope)
    return length is None or length >= LARGE_BYTES


def content_length(scope: Scope) -> int | None:
    """In bytes; 0 without a body, None where it is not known before the end: it comes in chunks, say."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            digits = value.strip()  # the parser leaves blanks after it
            length = int(digits) if digits.isdigit() else None
    return length
