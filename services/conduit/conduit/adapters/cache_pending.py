"""Invalidations that Redis did not answer, kept until it does."""

from collections.abc import Callable, Iterable
from itertools import islice
from threading import Lock
from typing import NamedTuple

from conduit.adapters.cache_changes import Change
from conduit.events import Committed

# With more pending invalidations than this, the whole cache is flushed instead.
MAX_PENDING = 10_000
_PER_CALL = 200


class Invalidation(NamedTuple):
    """Cache tags whose version rises, keys to delete, changes of values, and where they are in their servers' logs."""

    tags: frozenset[bytes]
    keys: frozenset[bytes]
    changes: tuple[Change, ...] = ()
    reached: frozenset[Committed] = frozenset()

    def without_changes(self) -> "Invalidation":
        """The same, which deletes the values instead: other changes may have been made since."""
        changed = (step.key for change in self.changes for step in change.steps)
        return Invalidation(self.tags, self.keys.union(changed), reached=self.reached)


def merged(invalidations: Iterable[Invalidation]) -> Invalidation:
    """All of them in one, which makes no changes."""
    every = list(invalidations)
    return Invalidation(
        frozenset[bytes]().union(*(one.tags for one in every)),
        frozenset[bytes]().union(*(one.keys for one in every)),
        reached=frozenset[Committed]().union(*(one.reached for one in every)),
    )


class PendingInvalidations:
    def __init__(self) -> None:
        self._lock = Lock()  # never held during a call: requests wait for it
        self._pending: set[Invalidation] = set()
        self._overflowed = False

    def add(self, invalidation: Invalidation) -> None:
        with self._lock:
            self._pending.add(invalidation.without_changes())
            if len(self._pending) > MAX_PENDING:
                self._pending.clear()
                self._overflowed = True

    def deliver(self, invalidate: Callable[[Invalidation], object], flush: Callable[[], object]) -> None:
        """Deliver all of them, merged to few. What is not delivered because of an error stays pending.

        Each is taken out before its call. An equal one that is added meanwhile may belong to a later commit, and so is
        delivered again.
        """
        with self._lock:
            overflowed, self._overflowed = self._overflowed, False
        if overflowed:
            try:
                flush()
            except BaseException:
                self._overflowed = True
                raise
        while batch := self._take():
            try:
                invalidate(merged(batch))
            except BaseException:
                with self._lock:
                    self._pending |= batch
                raise

    def _take(self) -> set[Invalidation]:
        with self._lock:
            batch = set(islice(self._pending, _PER_CALL))
            self._pending -= batch
        return batch
