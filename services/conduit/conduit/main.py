"""The API process: the ASGI app around the services, with its errors and its OpenAPI."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router

from conduit.boundary import Boundary, Receive, Scope, Send
from conduit.errors import AppError
from conduit.pages import Pages
from conduit.routes import articles, comments, covers, probes, profiles, reports, tags, users
from conduit.routing import openapi
from conduit.services import Services
from conduit.settings import Settings
from conduit.threads import Threads
from conduit.uploads import Uploads

ENDPOINTS = (
    *articles.ENDPOINTS,
    *comments.ENDPOINTS,
    *covers.ENDPOINTS,
    *profiles.ENDPOINTS,
    *reports.ENDPOINTS,
    *tags.ENDPOINTS,
    *users.ENDPOINTS,
)


def create_app(settings: Settings, services: Services) -> Boundary:
    """The ASGI app. It closes the services when it stops."""

    threads = Threads(settings.threads, settings.max_wait)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        await threads.run_however_late(services.before_requests)
        yield
        services.after_requests()
        threads.close()
        services.close()

    async def description(_request: Request) -> JSONResponse:
        return JSONResponse(openapi(ENDPOINTS))

    routes = [
        *(endpoint.route() for endpoint in ENDPOINTS),
        Route("/api/openapi.json", description),
        *probes.ROUTES,
    ]
    uploads = Uploads(settings.uploads_at_once, settings.upload_seconds, settings.upload_wait_seconds)
    state = SimpleNamespace(
        services=services, threads=threads, uploads=uploads, trusted_proxies=settings.trusted_networks, ping=None
    )
    api = Api(routes, state, lifespan(None))
    pages = Pages(api, services.pages)
    return Boundary(pages, settings.max_in_flight, always=pages.has)


class Api:
    """Starlette's router, with the services that endpoints reach by ``request.app.state``, and errors answered.

    Starlette's own application puts four layers round every request for that; without them an empty request costs
    about a third less (docs/decisions/0001-the-app-s-stack.md).
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        state: SimpleNamespace,
        lifespan: AbstractAsyncContextManager[None],
    ) -> None:
        self.state = state
        self._router = Router(routes, lifespan=lambda _app: lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except AppError as error:
            refusal: Response = JSONResponse({"errors": error.errors}, error.status, error.headers)
        except HTTPException as error:
            refusal = self._not_routed(scope, error)
        else:
            return
        await refusal(scope, receive, send)

    def _not_routed(self, scope: Scope, error: HTTPException) -> Response:
        """No such path, or not by this method: a page for a person who went astray, else in the API's shape."""
        if error.status_code == 404 and not scope["path"].startswith("/api/"):
            page = self.state.services.pages.missing(scope)
            if page is not None:
                headers, body = page
                response = Response(body, 404)
                response.raw_headers = headers
                return response
        return JSONResponse({"errors": {"body": [error.detail]}}, error.status_code, error.headers)
