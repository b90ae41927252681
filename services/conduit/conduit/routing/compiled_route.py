"""Routes whose signatures are compiled once, at import, instead of being interpreted for each request.

``CompiledRoute`` uses FastAPI's documented way to change how a route is handled: a subclass of APIRoute, passed to a
router as its ``route_class``. FastAPI analyses and describes the route like any other. ``answer`` is added: an ASGI app
that does in one trip to a thread what FastAPI does in several: parameters, dependencies, endpoint, JSON.
docs/decisions/0001-the-app-s-stack.md has the gain. ``ROUTES=plain`` serves the same routes by FastAPI alone.

Only a part of FastAPI is compiled. A route that needs another part is refused when its module is imported.
"""

from collections.abc import Callable
from functools import partial
from inspect import isasyncgenfunction, isclass, iscoroutinefunction, isgeneratorfunction, isroutine, unwrap
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_type_hints

import msgspec
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.params import Body
from fastapi.routing import APIRoute
from fastapi.security.api_key import APIKeyHeader
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.convertors import StringConvertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.routing.body import is_large, read_body
from conduit.schemas import Answer

Errors = list[dict[str, Any]]
Known = dict[Any, Any]  # the values of this request's dependencies, by function
Make = Callable[[Request, Known, Errors], Any]  # makes a value, and adds to the errors where it can't

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_encode = msgspec.json.Encoder().encode
_NOT_GIVEN: Any = object()


def behind(bulkhead: str) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint that needs a scarce resource: a request waits for a slot of ``app.state.<bulkhead>`` on the
    event loop, so that the threads stay free for others. Only CompiledRoute respects it.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.bulkhead = bulkhead  # type: ignore[attr-defined]
        return endpoint

    return mark


def before_large_bodies(dependency: Endpoint) -> Endpoint:
    """Mark a dependency that gives the user, or refuses the request: it is called before a large body is read, which
    needs one of the user's places in ``app.state.large_bodies``, and again with the others. Only CompiledRoute respects
    it.
    """
    dependency.before_large_bodies = True  # type: ignore[attr-defined]
    return dependency


class UnsupportedRouteError(TypeError):
    """A route uses a part of FastAPI that is not compiled. Raised at import; the text names the remedy."""


class CompiledRoute(APIRoute):
    """A route whose endpoint is a plain function, called in the same thread as its dependencies."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        _refuse_unsupported(self)
        self._arguments = _arguments_of(self.dependant)
        self._body = _body_of(self.dependant)
        self._sender_of_large_body = _marked(self.dependant)
        self._bulkhead: str | None = getattr(endpoint, "bulkhead", None)
        self._status = self.status_code or 200

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that matches. Raises AppError, HTTPException and RequestValidationError."""
        request = Request(scope, receive)
        state = scope["app"].state
        body = b""
        if self._body is not None:
            if self._sender_of_large_body is not None and is_large(scope):
                user = await state.threads.run(self._sender_of_large_body, request, {}, [])
                with state.large_bodies.place(user):
                    body = await read_body(request)
            else:
                body = await read_body(request)
        if self._bulkhead is None:
            response = await state.threads.run(self._work, request, body)
        else:
            async with getattr(state, self._bulkhead).slot():
                response = await state.threads.run(self._work, request, body)
        await response(scope, receive, send)

    def _work(self, request: Request, body: bytes) -> ASGIApp:
        # In FastAPI's order: invalid JSON is refused before the dependencies run, and the content is validated after.
        content = None if self._body is None else _parsed(body)
        errors: Errors = []
        values = self._arguments(request, {}, errors)
        if self._body is not None:
            name, adapter = self._body
            values[name] = _checked(adapter, content, errors)
        if errors:
            raise RequestValidationError(errors)
        result = self.endpoint(**values)
        if isinstance(result, Response):
            return result
        if self.response_model is None:
            return Response(status_code=self._status)
        return _JsonAnswer(self._status, _encode(result))


class _JsonAnswer:
    """What a Response does for JSON, with none of what it can do besides."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status = status
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % len(self._body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def _parsed(body: bytes) -> Any:
    if not body:
        return _NOT_GIVEN
    try:
        return from_json(body)
    except ValueError as error:
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": str(error)}]) from error


def _checked(adapter: TypeAdapter[Any], content: Any, errors: Errors) -> Any:
    if content is _NOT_GIVEN:
        errors.append({"type": "missing", "loc": ("body",), "msg": "Field required"})
        return None
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        errors += [{**one, "loc": ("body", *one["loc"])} for one in found]
        return None


# From a request to arguments ---------------------------------------------------------------------------------


def _arguments_of(dependant: Dependant) -> Make:
    """Makes the arguments of ``dependant`` by name, in FastAPI's order: errors are reported in it."""
    makers: list[tuple[str, Make]] = [
        *((str(inner.name), _value_of(inner)) for inner in dependant.dependencies),
        *((field.name, _from_path(field)) for field in dependant.path_params),
        *((field.name, _from_query(field)) for field in dependant.query_params),
    ]
    if dependant.request_param_name:
        makers.append((dependant.request_param_name, lambda request, _known, _errors: request))
    return lambda request, known, errors: {name: make(request, known, errors) for name, make in makers}


def _marked(dependant: Dependant) -> Make | None:
    """The dependency that is marked to be called before a large body, wherever it is declared."""
    for inner in dependant.dependencies:
        found = _value_of(inner) if getattr(inner.call, "before_large_bodies", False) else _marked(inner)
        if found is not None:
            return found
    return None


def _value_of(dependant: Dependant) -> Make:
    """Calls a dependency once for each request, unless there are errors in what it depends on."""
    call: Any = dependant.call
    if isinstance(call, APIKeyHeader):
        # Its own __call__ is a coroutine that only reads this header, without auto_error.
        return _from_header(call.model.name)
    arguments = _arguments_of(dependant)

    def make(request: Request, known: Known, errors: Errors) -> Any:
        if call in known:
            return known[call]
        before = len(errors)
        values = arguments(request, known, errors)
        if len(errors) > before:
            return None
        value = known[call] = call(**values)
        return value

    return make


def _from_header(name: str) -> Make:
    # Without Starlette's Headers, which would be made for this one.
    wanted = name.lower().encode("latin-1")

    def make(request: Request, _known: Known, _errors: Errors) -> str | None:
        for header, value in request.scope["headers"]:
            if header == wanted:
                return str(value, "latin-1")
        return None

    return make


def _from_path(field: Any) -> Make:
    alias = field.alias
    if field.field_info.annotation is str and not field.field_info.metadata:
        return lambda request, _known, _errors: request.scope["path_params"][alias]  # any text will do
    return lambda request, _known, errors: _validated(field, request.scope["path_params"][alias], "path", errors)


def _from_query(field: Any) -> Make:
    alias, required, default = field.alias, field.field_info.is_required(), field.field_info.default

    def make(request: Request, _known: Known, errors: Errors) -> Any:
        value = request.query_params.get(alias, _NOT_GIVEN) if request.scope["query_string"] else _NOT_GIVEN
        if value is not _NOT_GIVEN:
            return _validated(field, value, "query", errors)
        if required:
            errors.append({"type": "missing", "loc": ("query", alias), "msg": "Field required"})
        return default

    return make


def _validated(field: Any, value: str, where: str, errors: Errors) -> Any:
    checked, found = field.validate(value, {}, loc=(where, field.alias))
    errors += found
    return checked


def _body_of(dependant: Dependant) -> tuple[str, TypeAdapter[Any]] | None:
    if not dependant.body_params:
        return None
    (parameter,) = dependant.body_params
    model: Any = parameter.field_info.annotation
    return parameter.name, TypeAdapter(model)


# What is not compiled ----------------------------------------------------------------------------------------


def _refuse_unsupported(route: CompiledRoute) -> None:
    where = f"{'/'.join(sorted(route.methods or ()))} {route.path}"

    def refuse(what: str, remedy: str = "declare it on a router without route_class=CompiledRoute") -> NoReturn:
        raise UnsupportedRouteError(f"{where} is not compiled: it has {what}; {remedy}")

    if _is_async_or_generator(route.endpoint):
        refuse("an endpoint that is async or a generator")
    if any(type(convertor) is not StringConvertor for convertor in route.param_convertors.values()):
        refuse("a convertor in its path", "declare the parameter's type in the endpoint's signature")
    if route.dependencies:
        refuse("dependencies in its decorator", "declare them as parameters")
    _refuse_body(route, refuse)
    _refuse_answer(route, refuse)
    _refuse_dependant(route.dependant, refuse)


def _refuse_body(route: CompiledRoute, refuse: Callable[..., NoReturn]) -> None:
    parameters = route.dependant.body_params
    if len(parameters) > 1 or getattr(route, "_embed_body_fields", False):
        refuse("more than one body parameter", "make one model of them")
    for parameter in parameters:
        if type(parameter.field_info) is not Body:
            refuse("a form or a file")
        if not parameter.field_info.is_required():
            refuse("a body that may be left out")


def _refuse_answer(route: CompiledRoute, refuse: Callable[..., NoReturn]) -> None:
    declared = get_type_hints(route.endpoint).get("return")
    if isinstance(declared, type) and issubclass(declared, Response):
        return
    if declared is NoneType and route.status_code == 204:
        return
    if not (isinstance(declared, type) and issubclass(declared, Answer)) or route.response_model is not declared:
        refuse(
            "an answer that it does not declare by its return type as an Answer, a Response, or None with status 204",
            "declare it so, or use a router without route_class=CompiledRoute",
        )
    if not isinstance(route.response_class, DefaultPlaceholder) or route.response_class.value is not JSONResponse:
        refuse("a response class of its own", "return a Response")
    if any(
        (
            route.response_model_include,
            route.response_model_exclude,
            route.response_model_exclude_unset,
            route.response_model_exclude_defaults,
            route.response_model_exclude_none,
            not route.response_model_by_alias,
        )
    ):
        refuse("a response model with fields left out", "declare a model of the other fields")


def _refuse_dependant(dependant: Dependant, refuse: Callable[..., NoReturn]) -> None:
    call: Any = dependant.call
    if isinstance(call, APIKeyHeader):
        if call.auto_error:
            refuse("an API key header with auto_error")
        return
    if _is_async_or_generator(call):
        refuse(f"a dependency that is async or has a yield, {call}")
    for parameters, what in (
        (dependant.header_params, "a header parameter"),
        (dependant.cookie_params, "a cookie"),
        (dependant.websocket_param_name, "a WebSocket"),
        (dependant.http_connection_param_name, "an HTTPConnection"),
        (dependant.response_param_name, "a Response parameter"),
        (dependant.background_tasks_param_name, "background tasks"),
        (dependant.security_scopes_param_name, "security scopes"),
        (dependant.own_oauth_scopes, "security scopes"),
        (not dependant.use_cache, "a dependency with use_cache=False"),
    ):
        if parameters:
            refuse(what)
    for parameter in (*dependant.path_params, *dependant.query_params):
        info = parameter.field_info
        if _takes_many(parameter):
            refuse(f"a parameter with many values, {parameter.name}")
        if info.default_factory is not None or info.validation_alias not in (None, parameter.alias):
            refuse(f"a default factory or a validation alias, of {parameter.name}")
    for inner in dependant.dependencies:
        if inner.body_params:
            refuse(f"a dependency with a body, {inner.call}")
        _refuse_dependant(inner, refuse)


def _is_async_or_generator(call: Any) -> bool:
    while isinstance(call, partial):
        call = call.func
    call = unwrap(call)
    callee = call if isroutine(call) or isclass(call) else call.__call__
    return iscoroutinefunction(callee) or isasyncgenfunction(callee) or isgeneratorfunction(callee)


def _takes_many(parameter: Any) -> bool:
    """Whether FastAPI reads the parameter as a list, or as a model whose fields are parameters."""
    annotation: Any = parameter.field_info.annotation
    schema = TypeAdapter(annotation).json_schema()
    kinds = [schema, *schema.get("anyOf", ())]
    return any(kind.get("type") in ("array", "object") or "$ref" in kind for kind in kinds)
