"""Invalidations that wait for Redis: none is lost, and none that is added meanwhile."""

from collections.abc import Callable

import pytest

from conduit.adapters import cache_pending
from conduit.adapters.cache_pending import Invalidation, PendingInvalidations

ONE, TWO = (Invalidation(frozenset([name]), frozenset([b"s:" + name])) for name in (b"1", b"2"))


class Redis:
    """Records calls. During the first one, something else happens."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.calls: list[Invalidation | str] = []
        self._meanwhile = meanwhile

    def invalidate(self, invalidation: Invalidation) -> None:
        self._record(invalidation)

    def flush(self) -> None:
        self._record("flush")

    def _record(self, call: Invalidation | str) -> None:
        self.calls.append(call)
        if len(self.calls) == 1:
            self._meanwhile()

    def take(self, pending: PendingInvalidations) -> None:
        pending.deliver(self.invalidate, self.flush)


def _time_out() -> None:
    raise TimeoutError


def test_pending_invalidations_are_delivered_once_and_merged() -> None:
    pending, redis = PendingInvalidations(), Redis()
    for invalidation in (ONE, TWO, ONE):
        pending.add(invalidation)
    for _ in range(2):
        redis.take(pending)
    assert redis.calls == [Invalidation(ONE.tags | TWO.tags, ONE.keys | TWO.keys)]


def test_a_large_backlog_is_delivered_in_batches() -> None:
    pending, redis = PendingInvalidations(), Redis()
    for number in range(450):
        pending.add(Invalidation(frozenset([b"%d" % number]), frozenset()))
    redis.take(pending)
    assert len(redis.calls) == 3
    delivered = [tag for call in redis.calls if isinstance(call, Invalidation) for tag in call.tags]
    assert sorted(map(int, delivered)) == list(range(450))


def test_an_equal_invalidation_added_during_the_delivery_is_delivered_too() -> None:
    pending = PendingInvalidations()
    pending.add(ONE)
    redis = Redis(lambda: pending.add(ONE))
    for _ in range(2):
        redis.take(pending)
    assert redis.calls == [ONE, ONE]


def test_an_undelivered_invalidation_is_delivered_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pending, redis = PendingInvalidations(), Redis(_time_out)
    pending.add(ONE)
    with pytest.raises(TimeoutError):
        redis.take(pending)
    redis.take(pending)
    assert redis.calls == [ONE, ONE]

    monkeypatch.setattr(cache_pending, "MAX_PENDING", 0)
    redis = Redis(_time_out)
    pending.add(ONE)
    with pytest.raises(TimeoutError):
        redis.take(pending)
    redis.take(pending)
    assert redis.calls == ["flush", "flush"]


def test_too_many_pending_invalidations_flush_the_cache_and_again_if_more_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_pending, "MAX_PENDING", 0)
    pending = PendingInvalidations()
    pending.add(ONE)
    redis = Redis(lambda: pending.add(TWO))
    for _ in range(3):
        redis.take(pending)
    assert redis.calls == ["flush", "flush"]
