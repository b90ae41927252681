"""Error responses in the API's shape: ``{"errors": {"<field or body>": ["…"]}}``."""

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from conduit.errors import AppError, FailedError, HungUpError
from conduit.validation import errors_by_field

log = logging.getLogger(__name__)

ANSWERED = (AppError, RequestValidationError, HTTPException)


def add_error_handlers(app: FastAPI) -> None:
    """Make FastAPI answer these errors in the API's shape."""
    for kind in ANSWERED:
        app.add_exception_handler(kind, _handle)
    app.add_exception_handler(Exception, _handle_failure)


async def _handle(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 404 and not request.url.path.startswith("/api/"):
        page = request.app.state.services.pages.missing(request.scope)
        if page is not None:
            headers, body = page
            response = Response(body, 404)
            response.raw_headers = headers
            return response
    return response_to(error)


async def _handle_failure(_request: Request, _error: Exception) -> Response:
    return response_to(FailedError())  # FastAPI raises the error again, and AccessLog logs it


def response_to(error: Exception) -> Response:
    """The response to one of the ``ANSWERED`` errors."""
    if isinstance(error, HTTPException) and error.status_code == 400 and error.__cause__ is not None:
        error = _while_reading(error.__cause__)
    if isinstance(error, AppError):
        return JSONResponse({"errors": error.errors}, error.status, error.headers)
    if isinstance(error, RequestValidationError):
        return JSONResponse({"errors": errors_by_field(_within(error))}, 422)
    assert isinstance(error, HTTPException), f"nothing else is answered here: {error!r}"
    return JSONResponse({"errors": {"body": [error.detail]}}, error.status_code, error.headers)


def _within(error: RequestValidationError) -> list[dict[str, object]]:
    """pydantic's errors without the first part of FastAPI's location: "body", "path" or "query"."""
    return [{**found, "loc": found["loc"][1:]} for found in error.errors()]


def _while_reading(cause: BaseException) -> Exception:
    """The error behind FastAPI's 400, which it raises for any error while it reads a body."""
    if isinstance(cause, AppError):
        return cause
    if isinstance(cause, ClientDisconnect):
        return HungUpError()
    if isinstance(cause, ValueError | RecursionError):
        return RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": "is not valid JSON"}])
    log.error("unexpected error while reading a body", exc_info=cause)
    return FailedError()
