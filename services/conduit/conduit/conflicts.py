"""Transactions that run again where PostgreSQL rolled them back in favour of a concurrent one."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from conduit.errors import ConflictError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def retry_on_conflict(change: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Call ``change``, which is one transaction, once more where it raises ConflictError.

    A deadlock or a serialization failure rolls the transaction back, so nothing has changed. A use case of several
    transactions wraps each of them and not itself: those before the conflict are committed. PostgreSQL finds a deadlock
    after a second (deadlock_timeout), which leaves no time for a third attempt.
    """

    @functools.wraps(change)
    def changed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return change(*args, **kwargs)
        except ConflictError:
            return change(*args, **kwargs)

    return changed
