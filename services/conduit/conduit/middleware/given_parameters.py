"""Middleware: an empty query parameter is one that is not given, since a form sends all of its fields."""

from starlette.types import ASGIApp, Receive, Scope, Send


class GivenParameters:
    """Removes parameters without a value from the query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope.get("query_string", b"")
        if query:
            pairs = query.split(b"&")
            scope["query_string"] = b"&".join(pair for pair in pairs if pair.partition(b"=")[2])
        await self._app(scope, receive, send)
