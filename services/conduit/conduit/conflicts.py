"""A retry for transactions that PostgreSQL rolled back in favour of a concurrent one."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from conduit.errors import ConflictError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def retry_on_conflict(change: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Call ``change``, which is one transaction, once more if it raises ConflictError.

    A deadlock or a serialization failure rolls the transaction back, so a retry is safe. In a use case of several
    transactions each is retried by itself: those before the conflict are committed. PostgreSQL detects a deadlock after
    a second (deadlock_timeout), which leaves no time for a third attempt.
    """

    @functools.wraps(change)
    def changed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return change(*args, **kwargs)
        except ConflictError:
            return change(*args, **kwargs)

    return changed
