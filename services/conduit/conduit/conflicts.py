"""A retry for changes that PostgreSQL rolled back in favour of a concurrent transaction."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from conduit.errors import ConflictError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def retry_on_conflict(change: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Call ``change`` once more if it raises ConflictError.

    A deadlock or a serialization failure rolls the whole transaction back, so a retry is safe. PostgreSQL detects a
    deadlock after a second (deadlock_timeout), which leaves no time for a third attempt.
    """

    @functools.wraps(change)
    def changed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return change(*args, **kwargs)
        except ConflictError:
            return change(*args, **kwargs)

    return changed
