"""The API's errors, and their shape: ``{"errors": {"<field or body>": ["…"]}}``."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class AppError(Exception):
    """An error response. ``errors`` maps a field, or ``body``, to messages about it."""

    status = 500

    def __init__(self, errors: Mapping[str, list[str]], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(dict(errors)))
        self.errors = dict(errors)
        self.headers = dict(headers or {})


class NotSignedInError(AppError):
    """401: the token is missing, expired or invalid."""

    status = 401

    def __init__(self, field: str = "token", message: str = "is missing") -> None:
        super().__init__({field: [message]}, {"WWW-Authenticate": "Token"})


class UserGoneError(NotSignedInError):
    """401: the token is valid, but its user no longer exists."""

    def __init__(self) -> None:
        super().__init__(message="belongs to a user that no longer exists")


class ForbiddenError(AppError):
    """403: it exists, but belongs to another user."""

    status = 403

    def __init__(self, what: str) -> None:
        super().__init__({what: ["forbidden"]})


class NotFoundError(AppError):
    """404."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__({what: ["not found"]})


class HungUpError(AppError):
    """499, NGINX's status for this: the client closed the connection before its request was complete."""

    status = 499

    def __init__(self) -> None:
        super().__init__({"body": ["is incomplete"]})


class TooSlowError(AppError):
    """408: the body was not complete after ``seconds``, or came too slowly until then. The connection is closed."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__({"body": [f"did not arrive within {seconds:g} s"]}, {"Connection": "close"})


class TooLargeError(AppError):
    """413: a body beyond the limit, which is not read to its end."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__({"body": [f"is larger than {limit} bytes"]})


class InvalidError(AppError):
    """422: the request is invalid."""

    status = 422


class TakenError(InvalidError):
    """409: another user has the name already."""

    status = 409

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__({field: ["has already been taken"] for field in fields})


class TooManyError(AppError):
    """429: beyond a rate limit. The caller may retry after ``seconds``."""

    status = 429

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__({"body": [f"too many {what}; try again in {seconds} s"]}, {"Retry-After": str(seconds)})


class UnavailableError(AppError):
    """503: a component that the request needs does not answer."""

    status = 503

    def __init__(self, what: str) -> None:
        super().__init__({"body": [f"{what} is unavailable; try again shortly"]}, {"Retry-After": "1"})


class SlowError(UnavailableError):
    """503: the component answers, but took too long for this."""


class ConflictError(AppError):
    """503: concurrent transactions blocked each other and this one was rolled back. Nothing has changed."""

    status = 503

    def __init__(self) -> None:
        super().__init__({"body": ["conflicted with another change; try again"]}, {"Retry-After": "1"})


class DeferredError(UnavailableError):
    """503: the mail server temporarily rejected some of the messages. The others are sent, or rejected for good."""

    def __init__(self) -> None:
        super().__init__("the mail server, for some of the followers,")


class BusyError(AppError):
    """503: all slots are taken, and none became free in time."""

    status = 503

    def __init__(self, what: str) -> None:
        super().__init__({"body": [f"too many {what} are under way; try again shortly"]}, {"Retry-After": "5"})


class OverloadedError(AppError):
    """503: the app is overloaded, and the request was not started."""

    status = 503

    def __init__(self) -> None:
        super().__init__({"body": ["too many requests are under way; try again shortly"]}, {"Retry-After": "1"})


class FailedError(AppError):
    """500: a bug. The log has it under the request's id."""

    status = 500

    def __init__(self) -> None:
        super().__init__({"body": ["something went wrong here; the log has it under this request's id"]})


class DuplicateError(Exception):
    """A row violates a unique constraint. Database adapters raise it; use cases translate it."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class MissingOwnerError(Exception):
    """A row violates a foreign key: its owner no longer exists. Database adapters raise it."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


@contextmanager
def missing_owner_as(error: AppError) -> Iterator[None]:
    """Raise ``error`` if the owner of a written row no longer exists."""
    try:
        yield
    except MissingOwnerError as cause:
        raise error from cause
