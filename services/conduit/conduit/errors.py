"""What can go wrong for a caller, in the API's own shape: ``{"errors": {"<field or body>": ["…"]}}``."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager


class AppError(Exception):
    """An answer other than the one asked for. ``errors`` maps a field, or ``body``, to sentences about it."""

    status = 500

    def __init__(self, errors: Mapping[str, list[str]], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(dict(errors)))
        self.errors = dict(errors)
        self.headers = dict(headers or {})


class NotSignedInError(AppError):
    """401: no token, or one that is expired or not ours."""

    status = 401

    def __init__(self, field: str = "token", message: str = "is missing") -> None:
        super().__init__({field: [message]}, {"WWW-Authenticate": "Token"})


class UserGoneError(NotSignedInError):
    """401: the token is valid, but its user no longer exists."""

    def __init__(self) -> None:
        super().__init__(message="belongs to a user that no longer exists")


class ForbiddenError(AppError):
    """403: it is there, and it is somebody else's."""

    status = 403

    def __init__(self, what: str) -> None:
        super().__init__({what: ["forbidden"]})


class NotFoundError(AppError):
    """404."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__({what: ["not found"]})


class HungUpError(AppError):
    """499, as NGINX logs it: the caller left before the request was whole, and reads no answer."""

    status = 499

    def __init__(self) -> None:
        super().__init__({"body": ["did not arrive whole"]})


class TooSlowError(AppError):
    """408: a body that was ``seconds`` on its way and is not whole. The connection ends with the answer."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__({"body": [f"did not arrive within {seconds:g} s"]}, {"Connection": "close"})


class TooLargeError(AppError):
    """413: a body beyond the limit, refused before it is read."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__({"body": [f"is larger than {limit} bytes"]})


class InvalidError(AppError):
    """422: well-formed or not, it can't be done as sent."""

    status = 422


class TakenError(InvalidError):
    """409: somebody else has it already."""

    status = 409

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__({field: ["has already been taken"] for field in fields})


class TooManyError(AppError):
    """429: over a limit; ``seconds`` until it is worth trying again."""

    status = 429

    def __init__(self, what: str, seconds: int) -> None:
        super().__init__({"body": [f"too many {what}; try again in {seconds} s"]}, {"Retry-After": str(seconds)})


class UnavailableError(AppError):
    """503: something this needs does not answer just now."""

    status = 503

    def __init__(self, what: str) -> None:
        super().__init__({"body": [f"{what} is unavailable; try again shortly"]}, {"Retry-After": "1"})


class ConflictError(AppError):
    """503: concurrent transactions blocked each other and this one was rolled back. Nothing has changed."""

    status = 503

    def __init__(self) -> None:
        super().__init__({"body": ["conflicted with another change; try again"]}, {"Retry-After": "1"})


class DeferredError(UnavailableError):
    """503: the mail server takes some of the letters later; the others are sent, or refused for good."""

    def __init__(self) -> None:
        super().__init__("the mail server, for some of the followers,")


class BusyError(AppError):
    """503: there is no place for this, and none came free in time if it was waited for."""

    status = 503

    def __init__(self, what: str) -> None:
        super().__init__({"body": [f"too many {what} are under way; try again shortly"]}, {"Retry-After": "5"})


class OverloadedError(AppError):
    """503: more is asked than can be done; this waited for too long to be begun."""

    status = 503

    def __init__(self) -> None:
        super().__init__({"body": ["too many requests are under way; try again shortly"]}, {"Retry-After": "1"})


class FailedError(AppError):
    """500: a fault of ours. The log has it under the request's id."""

    status = 500

    def __init__(self) -> None:
        super().__init__({"body": ["something went wrong here; the log has it under this request's id"]})


class DuplicateError(Exception):
    """A unique constraint refused a row. Raised by Database adapters, for use cases to name the field."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class MissingOwnerError(Exception):
    """A foreign key found no row: what is written belongs to something that is gone. Raised by Database adapters."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


@contextmanager
def missing_owner_as(error: AppError) -> Iterator[None]:
    """Raise ``error`` where a foreign key finds that the owner of what is written no longer exists."""
    try:
        yield
    except MissingOwnerError as cause:
        raise error from cause
