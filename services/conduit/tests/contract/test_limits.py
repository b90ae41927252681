"""The contract of every Limits."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from limits import parse

from conduit.adapters.limits_memory import MemoryLimits
from conduit.adapters.limits_redis import RedisLimits
from conduit.errors import TooManyError
from conduit.ports import Limits
from conduit_testing.deployments import NewRedis


@pytest.fixture(params=["memory", "redis"])
def limits(request: pytest.FixtureRequest) -> Iterator[Limits]:
    bounds = parse("3/minute"), parse("5/minute")
    if request.param == "memory":
        yield MemoryLimits(*bounds)
        return
    limits = RedisLimits(request.getfixturevalue("new_redis")(), *bounds)
    limits.open()
    yield limits
    limits.close()


def _refused(count: int, call: Callable[[], None]) -> list[bool]:
    """Make so many calls. Returns which were refused, after a check that the wait is from a second to two minutes."""
    waits = []
    for _ in range(count):
        try:
            call()
        except TooManyError as error:
            waits.append(int(error.headers["Retry-After"]))
        else:
            waits.append(0)
    assert all(0 <= wait <= 120 for wait in waits)
    return [wait > 0 for wait in waits]


def test_writes_are_counted_by_account(limits: Limits) -> None:
    assert _refused(5, lambda: limits.count_write("jo")) == [False] * 3 + [True] * 2
    assert _refused(1, lambda: limits.count_write("ann")) == [False]


def test_signing_in_is_counted_by_address_and_by_account(limits: Limits) -> None:
    accounts = iter(f"account {n}" for n in range(10))
    assert _refused(7, lambda: limits.count_sign_in("10.0.0.1", next(accounts))) == [False] * 5 + [True] * 2
    addresses = iter(f"10.0.1.{n}" for n in range(10))
    assert _refused(7, lambda: limits.count_sign_in(next(addresses), "jo")) == [False] * 5 + [True] * 2


def test_two_boxes_count_an_account_together(new_redis: NewRedis) -> None:
    url = new_redis()
    boxes = [RedisLimits(url, parse("3/minute"), parse("5/minute")) for _ in range(2)]
    for box in boxes:
        box.open()
    turns = itertools.cycle(boxes)
    assert _refused(5, lambda: next(turns).count_write("jo")) == [False] * 3 + [True] * 2
    for box in boxes:
        box.close()


def test_writes_and_sign_ins_have_separate_counters(limits: Limits) -> None:
    assert _refused(3, lambda: limits.count_write("jo")) == [False] * 3
    assert _refused(1, lambda: limits.count_sign_in("jo", "jo")) == [False]
