"""The API process: the FastAPI app around the services, its errors and its OpenAPI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from conduit.bootstrap import Services
from conduit.boundary import Boundary
from conduit.errors import AppError
from conduit.http import DESCRIBED
from conduit.routes import articles, comments, probes, profiles, tags, users
from conduit.schemas import ErrorsBody
from conduit.settings import Settings


def create_app(settings: Settings, services: Services) -> Boundary:
    """The ASGI app. It closes the services when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = settings.threads
        yield
        services.close()

    app = FastAPI(
        title="Conduit",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.services = services
    # The feed's path would read as a slug's to the route after it; order matters here.
    for module in (users, profiles, comments, articles, tags):
        app.include_router(module.router, prefix="/api")
    app.include_router(probes.router)
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(HTTPException, _http_error)
    _complete_openapi(app)
    return Boundary(app, settings.max_in_flight)


async def _app_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return JSONResponse({"errors": error.errors}, error.status, error.headers)


async def _invalid_parameters(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors: dict[str, list[str]] = {}
    for problem in error.errors():
        errors.setdefault(str(problem["loc"][-1]), []).append(str(problem["msg"]))
    return JSONResponse({"errors": errors}, 422)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"errors": {"body": [str(error.detail)]}}, error.status_code, error.headers)


def _complete_openapi(app: FastAPI) -> None:
    """Add to FastAPI's description the bodies, which msgspec describes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = FastAPI.openapi(app)
            _, schemas = msgspec.json.schema_components(
                [*DESCRIBED, ErrorsBody], ref_template="#/components/schemas/{name}"
            )
            components = described.setdefault("components", {})
            components["schemas"] = components.get("schemas", {}) | schemas
            components["securitySchemes"] = {
                "Token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "Token <JWT>",
                }
            }
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
