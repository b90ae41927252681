"""Routes: plain functions run in the thread pool, with what each takes and gives declared once, for OpenAPI too.

Starlette's routes are used as they are. A framework that builds each call from its signature cost about as much a
request as everything else the app does for a hot read, measured side by side (docs/decisions/0001-the-app-s-stack.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conduit.boundary import Receive, Scope, Send
from conduit.http import Filter, Number, read_body, refuse_if_larger
from conduit.schemas import ErrorsBody

Work = Callable[[Request], Response]
WorkWithBody = Callable[[Request, bytes], Response]
WorkWithUpload = Callable[[Request, int, bytes], Response]


@dataclass(frozen=True)
class Upload:
    """A body of bytes that are no JSON, of one of ``kinds``. ``admit`` looks at the request before any of them is read:
    it returns who is asking, for the work, or raises what speaks against it.
    """

    kinds: Sequence[str]
    max_bytes: int
    admit: Callable[[Request], int]


@dataclass(frozen=True)
class File:
    """An answer of bytes that are no JSON."""

    kind: str


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. ``takes`` is the body's struct, ``gives`` the answer's; None where there is none."""

    method: str
    path: str
    work: Work | WorkWithBody | WorkWithUpload
    tag: str
    takes: type[Struct] | Upload | None = None
    gives: type[Struct] | File | None = None
    status: int = 200
    parameters: Sequence[Number | Filter] = ()
    signed_in: bool = False

    def route(self) -> Route:
        handler = _UploadHandler if isinstance(self.takes, Upload) else _Handler
        return Route(self.path, handler(self), methods=[self.method])


class _Handler:
    """An endpoint as an ASGI app, which the router calls without a layer between."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._work: Any = endpoint.work
        self._template = endpoint.path
        self._takes_body = endpoint.takes is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._template
        request = Request(scope, receive)
        run = request.app.state.threads.run
        if self._takes_body:
            response: Response = await run(self._work, request, await read_body(request))
        else:
            response = await run(self._work, request)
        await response(scope, receive, send)


class _UploadHandler:
    """An endpoint that takes an upload: asked first, read with patience that ends, and worked on one at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint.takes, Upload)
        self._takes = endpoint.takes
        self._work: Any = endpoint.work
        self._template = endpoint.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._template
        request = Request(scope, receive)
        state = request.app.state
        refuse_if_larger(request, self._takes.max_bytes)
        viewer = await state.threads.run(self._takes.admit, request)
        async with state.uploads.place():
            body = await state.uploads.read(request, self._takes.max_bytes)
            async with state.uploads.turn():
                response: Response = await state.threads.run(self._work, request, viewer, body)
        await response(scope, receive, send)


def openapi(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 description, from the structs that the endpoints really decode and encode."""
    structs: set[type[Struct]] = {ErrorsBody}
    structs |= {kind for e in endpoints for kind in (e.takes, e.gives) if isinstance(kind, type)}
    ordered = sorted(structs, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    token = {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token <JWT>"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Conduit", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"Token": token}},
    }


_ERRORS = {
    "401": "The token or the credentials are missing or not good",
    "403": "Somebody else's",
    "404": "Not there",
    "408": "The body took too long to arrive",
    "413": "The body is too large",
    "422": "It can't be done as sent",
    "429": "Over a limit",
    "503": "Something this needs does not answer just now",
}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {
        code: {"description": text, "content": _json(ErrorsBody)} for code, text in _ERRORS.items()
    }
    responses[str(endpoint.status)] = {"description": "Done"}
    if isinstance(endpoint.gives, File):
        responses[str(endpoint.status)]["content"] = _bytes([endpoint.gives.kind])
    elif endpoint.gives is not None:
        responses[str(endpoint.status)]["content"] = _json(endpoint.gives)
    operation: dict[str, Any] = {
        "operationId": endpoint.work.__module__.rpartition(".")[2] + "_" + endpoint.work.__name__,
        "summary": (endpoint.work.__doc__ or "").split("\n")[0],
        "tags": [endpoint.tag],
        "parameters": [_described(p, "query") for p in endpoint.parameters] + _path_parameters(endpoint),
        "responses": responses,
        "security": [{"Token": []}] if endpoint.signed_in else [{"Token": []}, {}],
    }
    if isinstance(endpoint.takes, Upload):
        operation["requestBody"] = {"required": True, "content": _bytes(endpoint.takes.kinds)}
    elif endpoint.takes is not None:
        operation["requestBody"] = {"required": True, "content": _json(endpoint.takes)}
    return operation


def _json(kind: type[Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _bytes(kinds: Sequence[str]) -> dict[str, Any]:
    """What is no JSON has no schema: OpenAPI 3.1, "Considerations for Binary Data"."""
    return {kind: {} for kind in kinds}


def _described(parameter: Number | Filter, where: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": 200}
    if isinstance(parameter, Number):
        schema = {"type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
        if parameter.default is not None:
            schema["default"] = parameter.default
    return {"name": parameter.name, "in": where, "description": parameter.description, "schema": schema}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    number = {"type": "integer", "minimum": 0}
    kinds = {"comment_id": number, "report_id": number}
    return [
        {"name": name, "in": "path", "required": True, "schema": kinds.get(name, {"type": "string"})} for name in names
    ]
