"""The API process: the ASGI app around the services, with its errors and its OpenAPI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from conduit.bootstrap import Services
from conduit.boundary import Boundary
from conduit.errors import AppError
from conduit.routes import articles, comments, probes, profiles, tags, users
from conduit.routing import openapi
from conduit.settings import Settings
from conduit.threads import Threads

ENDPOINTS = (
    *articles.ENDPOINTS,
    *comments.ENDPOINTS,
    *profiles.ENDPOINTS,
    *tags.ENDPOINTS,
    *users.ENDPOINTS,
)


def create_app(settings: Settings, services: Services) -> Boundary:
    """The ASGI app. It closes the services when it stops."""

    threads = Threads(settings.threads)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        threads.close()
        services.close()

    async def description(_request: Request) -> JSONResponse:
        return JSONResponse(openapi(ENDPOINTS))

    app = Starlette(
        routes=[
            *(endpoint.route() for endpoint in ENDPOINTS),
            Route("/api/openapi.json", description),
            *probes.ROUTES,
        ],
        exception_handlers={AppError: _app_error, HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.threads = threads
    return Boundary(app, settings.max_in_flight)


async def _app_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return JSONResponse({"errors": error.errors}, error.status, error.headers)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    """No such path, or not by this method: the router's own errors, in the API's shape."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"errors": {"body": [str(error.detail)]}}, error.status_code, error.headers)
