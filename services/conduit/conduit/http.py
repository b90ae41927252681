"""What every route does with a request: who is asking, what the body says, and JSON out."""

from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Request, Response
from msgspec import Struct

from conduit.bootstrap import Services
from conduit.errors import InvalidError, NotSignedInError, TooLargeError
from conduit.ids import MAX_ID
from conduit.ports import Page
from conduit.validation import MAX_BODY_BYTES

T = TypeVar("T", bound=Struct)
MAX_OFFSET = 10_000
MAX_LIMIT = 100
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[type[Struct], msgspec.json.Decoder[Any]] = {}


def answer(body: Struct, status: int = 200) -> Response:
    return Response(_ENCODER.encode(body), status, media_type="application/json")


async def _read_body(request: Request) -> bytes:
    """The body, at most MAX_BODY_BYTES of it. Only this much of a request waits on the event loop."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise TooLargeError(MAX_BODY_BYTES)
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > MAX_BODY_BYTES:
            raise TooLargeError(MAX_BODY_BYTES)
    return bytes(chunks)


Body = Annotated[bytes, Depends(_read_body)]


def decoded(body: bytes, kind: type[T]) -> T:
    """The body as ``kind``. Raises InvalidError naming the field that is missing or of the wrong type."""
    decoder = _DECODERS.get(kind) or _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        result: T = decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").split(".")[-1].split("[")[0] or "body"
        raise InvalidError({field: [message.replace("`", "'")]}) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError({"body": ["is not valid JSON"]}) from error
    return result


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def token_of(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme in ("Token", "Bearer") else None


def viewer_of(request: Request) -> int | None:
    """Who is asking: None without a token. Raises NotSignedInError for a token that is not good."""
    token = token_of(request)
    return None if token is None else services(request).tokens.user_id(token)


def signed_in(request: Request) -> int:
    """Who is asking. Raises NotSignedInError where nobody is signed in."""
    viewer = viewer_of(request)
    if viewer is None:
        raise NotSignedInError
    return viewer


def writer_of(request: Request) -> int:
    """Who is asking to change something, counted against their limit. Raises TooManyError beyond it."""
    viewer = signed_in(request)
    services(request).limits.count_write(str(viewer))
    return viewer


def address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def page_of(limit: int, offset: int, before: int | None) -> Page:
    """The page asked for. Offsets are exact up to MAX_OFFSET; beyond, skipping costs more than it shows."""
    if offset > MAX_OFFSET:
        raise InvalidError(
            {"offset": [f"must be at most {MAX_OFFSET}; for older articles use before=<id at the last slug's end>"]}
        )
    return Page(limit, offset, MAX_ID + 1 if before is None else before)


Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_ID)]
Before = Annotated[int | None, Query(ge=0, le=MAX_ID, description="Only what is older than the row of this id.")]


def describe(
    request: type[Struct] | None = None,
    response: type[Struct] | None = None,
    status: int = 200,
    *,
    open_to_all: bool,
) -> dict[str, Any]:
    """A route's OpenAPI, from the msgspec structs that it really decodes and encodes."""
    errors = {"$ref": "#/components/schemas/ErrorsBody"}
    codes = {"422": "It can't be done as sent", "503": "Something it needs does not answer"}
    codes |= {"401": "The token is missing or not good", "404": "Not there"}
    if request is not None:
        codes |= {"413": "The body is too large", "429": "Over a limit"}
    if not open_to_all:
        codes |= {"403": "Somebody else's", "429": "Over a limit"}
    responses: dict[str, Any] = {
        code: {"description": text, "content": {"application/json": {"schema": errors}}} for code, text in codes.items()
    }
    responses[str(status)] = {"description": "Done"}
    if response is not None:
        responses[str(status)]["content"] = {"application/json": {"schema": schema_of(response)}}
    extra: dict[str, Any] = {"responses": responses}
    extra["security"] = [{"Token": []}, {}] if open_to_all else [{"Token": []}]
    if request is not None:
        extra["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of(request)}},
        }
    return extra


DESCRIBED: list[type[Struct]] = []


def schema_of(kind: type[Struct]) -> dict[str, str]:
    if kind not in DESCRIBED:
        DESCRIBED.append(kind)
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
