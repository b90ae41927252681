"""Reading a request's body. How large and how slow it may be is middleware/request_limits.py's."""

from starlette.requests import ClientDisconnect, Request

from conduit.errors import HungUpError


async def read_body(request: Request) -> bytes:
    """The body. Raises HungUpError where the caller leaves before it is complete."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HungUpError from error
