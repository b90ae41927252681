"""A change that was rolled back because of a conflict is retried once."""

import pytest

from conduit.conflicts import retry_on_conflict
from conduit.errors import ConflictError, NotFoundError


class Change:
    """Raises the given errors in turn; None is a success."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    def __call__(self, number: int, *, name: str) -> str:
        if error := self.errors.pop(0):
            raise error
        return f"{name}{number}"


def test_a_conflict_is_retried_with_the_same_arguments() -> None:
    change = Change(ConflictError(), None)
    assert retry_on_conflict(change)(1, name="a") == "a1"
    assert change.errors == []


def test_a_second_conflict_is_raised() -> None:
    change = Change(ConflictError(), ConflictError(), None)
    with pytest.raises(ConflictError):
        retry_on_conflict(change)(1, name="a")
    assert change.errors == [None]


def test_other_errors_are_not_retried() -> None:
    change = Change(NotFoundError("article"), None)
    with pytest.raises(NotFoundError):
        retry_on_conflict(change)(1, name="a")
    assert change.errors == [None]
