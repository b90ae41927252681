"""Middleware: serves the compiled routes, and leaves everything else to FastAPI."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from conduit.routing.compiled_route import CompiledRoute
from conduit.routing.error_handlers import ANSWERED, response_to


class CompiledRoutes:
    """Tries the routes in order. A request that none of them matches goes to ``app``, which is FastAPI: for an unknown
    path, a method that is not allowed, or a route without CompiledRoute.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[CompiledRoute]) -> None:
        self._app = app
        self._by_method: dict[str, list[CompiledRoute]] = {}
        for route in routes:
            for method in route.methods or ():
                self._by_method.setdefault(method, []).append(route)
        # HEAD is GET without the body, which the server leaves out.
        self._by_method["HEAD"] = self._by_method.get("GET", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            for route in self._by_method.get(scope["method"], ()):
                matched = route.path_regex.match(path)
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
