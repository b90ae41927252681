"""Reading a request's body. ``middleware/request_limits.py`` limits its size and time."""

from starlette.requests import ClientDisconnect, Request

from conduit.errors import HungUpError


async def read_body(request: Request) -> bytes:
    """The complete body. Raises HungUpError if the client closes the connection before."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HungUpError from error
