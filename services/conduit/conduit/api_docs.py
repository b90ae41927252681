"""The API's description at ``/openapi.json``, and Swagger UI at ``/docs``.

FastAPI's page loads its scripts from a CDN; this one works without a network. It follows FastAPI's documentation:
https://fastapi.tiangolo.com/how-to/custom-docs-ui-assets/ and https://fastapi.tiangolo.com/how-to/extending-openapi/
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

_FILES = "/docs/files"
_UNDECLARED = "HTTPValidationError"


def add_docs(app: FastAPI) -> None:
    """Serve the description and Swagger UI. The description is also at ``/api/openapi.json``, under ``/api``."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _without_undeclared_errors(describe())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does

    async def description(_request: Request) -> JSONResponse:
        return JSONResponse(app.openapi())

    async def page(_request: Request) -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=f"{app.title}: the API",
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{_FILES}/favicon-32x32.png",
        )

    app.add_route("/api/openapi.json", description, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)
    app.mount(_FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))


def _without_undeclared_errors(description: dict[str, Any]) -> dict[str, Any]:
    """Remove the 422 that FastAPI adds to every route with a parameter. Our routes declare their own."""
    for item in description["paths"].values():
        for operation in item.values():
            if _UNDECLARED in str(operation["responses"].get("422", "")):
                del operation["responses"]["422"]
    for schema in (_UNDECLARED, "ValidationError"):
        description["components"]["schemas"].pop(schema, None)
    return description
