"""Error and file responses that routes declare."""

from typing import Any

from conduit.schemas import ErrorsBody

_ERRORS = {
    401: "The token or the credentials are missing or invalid",
    403: "It belongs to another user",
    404: "Not found",
    408: "The body took too long to arrive",
    409: "Another user has it already",
    413: "The body is too large",
    422: "Invalid",
    429: "Beyond a rate limit; `Retry-After` says when to retry",
    503: "Overloaded, or a component does not answer; `Retry-After` says when to retry",
}

Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """FastAPI's ``responses=`` for errors in the API's shape."""
    return {status: {"model": ErrorsBody, "description": _ERRORS[status]} for status in statuses}


def file_of(kind: str) -> Responses:
    """FastAPI's ``responses=`` for a file, which has no schema (OpenAPI 3.1, "Considerations for Binary Data")."""
    return {200: {"content": {kind: {}}, "description": "The file"}}
