"""Middleware: serves the compiled routes, and leaves everything else to FastAPI."""

from collections.abc import Callable
from re import Match

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.routing.compiled_route import CompiledRoute, UnsupportedRouteError
from conduit.routing.error_handlers import ANSWERED, response_to

_Matches = Callable[[str], Match[str] | None]


class CompiledRoutes:
    """Tries the compiled routes of ``fastapi`` in order. A request that none of them matches goes to ``app``, which is
    the rest of FastAPI: for an unknown path, a method that is not allowed, or a route without CompiledRoute.

    Raises UnsupportedRouteError where a router was included with a prefix or dependencies.
    """

    def __init__(self, app: ASGIApp, fastapi: FastAPI) -> None:
        self._app = app
        self._by_method: dict[str, list[tuple[_Matches, CompiledRoute]]] = {}
        for route in _compiled(fastapi):
            for method in route.methods or ():
                self._by_method.setdefault(method, []).append((route.path_regex.match, route))
        # HEAD is GET without the body, which the server leaves out.
        self._by_method.setdefault("HEAD", self._by_method.get("GET", []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            for matches, route in self._by_method.get(scope["method"], ()):
                matched = matches(path)
                if matched is not None:
                    scope["path_params"] = matched.groupdict()
                    scope["route"] = route
                    await self._answer(route, scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(self, route: CompiledRoute, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await route.answer(scope, receive, send)
        except ANSWERED as error:
            await response_to(error)(scope, receive, send)


def _compiled(fastapi: FastAPI) -> list[CompiledRoute]:
    if fastapi.dependency_overrides:
        raise UnsupportedRouteError("compiled routes do not look at dependency_overrides; bring other services instead")
    found = []
    for included in iter_route_contexts(fastapi.routes):
        route = included.original_route
        if isinstance(route, CompiledRoute):
            if included.path != route.path or len(included.dependencies) != len(route.dependencies):
                raise UnsupportedRouteError(
                    f"{route.path} is compiled as its router declares it; give the router the prefix or the "
                    "dependencies that it is included with"
                )
            found.append(route)
    return found
