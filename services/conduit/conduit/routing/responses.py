"""What routes declare of their answers beside their models: errors and files."""

from typing import Any

from conduit.schemas import ErrorsBody

_ERRORS = {
    401: "The token or the credentials are missing or not good",
    403: "It is somebody else's",
    404: "Not found",
    408: "The body took too long to arrive",
    409: "Somebody else has it already",
    413: "The body is too large",
    422: "Not valid",
    429: "Over a limit of requests; `Retry-After` says how long",
    503: "Overloaded, or something that this needs does not answer; `Retry-After` says how long",
}

Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """FastAPI's ``responses=`` for errors in the API's shape."""
    return {status: {"model": ErrorsBody, "description": _ERRORS[status]} for status in statuses}


def file_of(kind: str) -> Responses:
    """FastAPI's ``responses=`` for a file. What is no JSON has no schema (OpenAPI 3.1, "Considerations for Binary
    Data").
    """
    return {200: {"content": {kind: {}}, "description": "The file"}}
