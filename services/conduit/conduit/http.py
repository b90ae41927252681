"""What every route does with a request: who is asking, what its parameters and body say, and JSON out."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from conduit.errors import HungUpError, InvalidError, NotSignedInError, TooLargeError
from conduit.ids import MAX_ID
from conduit.ports import Page
from conduit.services import Services
from conduit.validation import MAX_BODY_BYTES, one_form

T = TypeVar("T", bound=Struct)
MAX_OFFSET = 10_000
MAX_LIMIT = 100
_encode = msgspec.json.Encoder().encode
_DECODERS: dict[type[Struct], msgspec.json.Decoder[Any]] = {}
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def answer(body: Struct, status: int = 200) -> Response:
    return Response(_encode(body), status, media_type="application/json")


def refuse_if_larger(request: Request, most: int) -> None:
    """Raise TooLargeError for a body that says itself that it is larger."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise TooLargeError(most)


async def read_body(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """The body, at most ``most`` bytes of it. Only this much of a request waits on the event loop."""
    refuse_if_larger(request, most)
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > most:
                raise TooLargeError(most)
    except ClientDisconnect as error:
        raise HungUpError from error
    return bytes(chunks)


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


# Who is asking ---------------------------------------------------------------------------------------------


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
    """Whose request it is: the caller's, or whoever a caller that is believed says that it passes it on for.

    Found here, where signing in asks for it, and not in a layer around every request, which each of them paid for.
    """
    address = request.client.host if request.client else "unknown"
    # Each that passes it on puts whom it saw last.
    said = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    trusted: Sequence[IPv4Network | IPv6Network] = request.app.state.trusted_proxies
    while said and _is_in(address, trusted):
        address = said.pop().strip() or address
    return address


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


# Parameters ------------------------------------------------------------------------------------------------


class Number(NamedTuple):
    """A whole number in the query string or the path, between two bounds."""

    name: str
    minimum: int
    maximum: int
    default: int | None
    description: str

    def read(self, text: str) -> int:
        """The number that ``text`` says. Raises InvalidError naming the parameter and its bounds."""
        if _WHOLE_NUMBER.fullmatch(text) and self.minimum <= int(text) <= self.maximum:
            return int(text)
        raise InvalidError({self.name: [f"must be a whole number from {self.minimum} to {self.maximum}"]})

    def of(self, request: Request) -> int | None:
        text = request.query_params.get(self.name)
        return self.default if text is None else self.read(text)


class Filter(NamedTuple):
    """A text in the query string."""

    name: str
    description: str

    def of(self, request: Request) -> str | None:
        text = request.query_params.get(self.name)
        if text is not None and (len(text) > 200 or "\x00" in text):
            raise InvalidError({self.name: ["must be at most 200 characters, none of them NUL"]})
        return text and one_form(text)


LIMIT = Number("limit", 1, MAX_LIMIT, 20, "How many rows at most.")
OFFSET = Number("offset", 0, MAX_ID, 0, f"How many of the newest rows to skip, up to {MAX_OFFSET}.")
BEFORE = Number("before", 0, MAX_ID, None, "Only what is older than the row of this id: pages without end.")
COMMENT_LIMIT = LIMIT._replace(default=MAX_LIMIT)
REPORT_ID = Number("report_id", 0, MAX_ID, None, "A report's id.")
COMMENT_ID = Number("comment_id", 0, MAX_ID, None, "A comment's id.")


def page_of(request: Request, limit: Number = LIMIT) -> Page:
    """The page asked for. Offsets are exact up to MAX_OFFSET; beyond, skipping costs more than it shows."""
    before = BEFORE.of(request)
    offset = OFFSET.of(request) or 0
    if offset > MAX_OFFSET:
        raise InvalidError(
            {"offset": [f"must be at most {MAX_OFFSET}; for older ones use before=<id at the last slug's end>"]}
        )
    return Page(limit.of(request) or MAX_LIMIT, offset, MAX_ID + 1 if before is None else before)
