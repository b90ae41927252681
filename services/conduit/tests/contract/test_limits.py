"""The contract of every Limits."""

import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from limits import parse
from redis import Redis

from conduit.adapters import limits_memory, limits_redis
from conduit.adapters.limits_memory import MemoryLimits
from conduit.adapters.limits_redis import RedisLimits
from conduit.errors import TooManyError
from conduit.ports import Limits
from conduit_testing.deployments import NewRedis

NewLimits = Callable[[str, str], Limits]


@pytest.fixture(params=["memory", "redis"])
def new_limits(request: pytest.FixtureRequest) -> Iterator[NewLimits]:
    """Call it with the limits of writing and of signing in."""
    opened: list[RedisLimits] = []

    def make(write: str, sign_in: str) -> Limits:
        bounds = parse(write), parse(sign_in)
        if request.param == "memory":
            return MemoryLimits(*bounds)
        opened.append(RedisLimits(request.getfixturevalue("new_redis")(), *bounds))
        opened[-1].open()
        return opened[-1]

    yield make
    for limits in opened:
        limits.close()


@pytest.fixture
def limits(new_limits: NewLimits) -> Limits:
    return new_limits("3/minute", "5/minute")


def _refusal(call: Callable[[], None]) -> TooManyError:
    """The error of the first of twenty calls that is refused."""
    for _ in range(20):
        try:
            call()
        except TooManyError as error:
            return error
    pytest.fail("none of twenty calls is refused")


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


def test_a_refusal_says_what_was_too_much_and_when_to_try_again(new_limits: NewLimits) -> None:
    limits = new_limits("2/second", "2/second")
    numbers = itertools.count()
    for call, what in (
        (lambda: limits.count_write("jo"), "writes"),
        (lambda: limits.count_sign_in("10.0.0.1", f"{next(numbers)}"), "attempts to sign in or up from this address"),
        (lambda: limits.count_sign_in(f"{next(numbers)}", "jo"), "attempts to sign in to this account"),
    ):
        refused = _refusal(call)
        assert refused.errors == {"body": [f"too many {what}; try again in 1 s"]}
        assert refused.headers == {"Retry-After": "1"}


def test_the_wait_ends_with_the_window(new_limits: NewLimits) -> None:
    limits = new_limits("1/year", "1/year")
    limits.count_write("jo")
    time.sleep(0.05)  # in the window's first millisecond its rest counts as nothing
    assert 1 < int(_refusal(lambda: limits.count_write("jo")).headers["Retry-After"]) <= 365 * 86_400


def test_an_address_and_an_account_of_the_same_name_are_counted_apart(limits: Limits) -> None:
    assert _refused(5, lambda: limits.count_sign_in("same", "same")) == [False] * 5


def test_boxes_of_two_versions_count_together_for_their_keys_stay_the_same(new_redis: NewRedis) -> None:
    url = new_redis()
    limits = RedisLimits(url, parse("3/minute"), parse("5/minute"))
    limits.open()
    limits.count_write("jo")
    limits.count_sign_in("10.0.0.1", "jo@example.com")
    limits.close()
    with Redis.from_url(url, decode_responses=True) as inside:
        counted = {re.sub(r"^.*LIMITER/|/\d+/\d+/minute.*$", "", key) for key in inside.scan_iter()}
    assert counted == {"write/jo", "address/10.0.0.1", "account/jo@example.com"}


def test_a_box_counts_by_itself_while_redis_is_away() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        limits = RedisLimits(f"redis://127.0.0.1:{nobody.getsockname()[1]}/0", parse("3/minute"), parse("5/minute"))
        limits.open()
        assert _refused(5, lambda: limits.count_write("jo")) == [False] * 3 + [True] * 2
        accounts = iter(f"account {n}" for n in range(10))
        assert _refused(7, lambda: limits.count_sign_in("10.0.0.1", next(accounts))) == [False] * 5 + [True] * 2
        limits.close()


def test_wrong_passwords_from_elsewhere_do_not_lock_an_owner_out(limits: Limits) -> None:
    addresses = (f"10.1.0.{number}" for number in range(100))
    limits.signed_in("10.0.0.1", "jo@example.com")
    assert _refused(7, lambda: limits.count_sign_in(next(addresses), "jo@example.com")) == [False] * 5 + [True] * 2
    assert _refused(1, lambda: limits.count_sign_in("10.0.0.1", "jo@example.com")) == [False]
    # From the owner's address there are as many attempts as from any other.
    assert _refused(6, lambda: limits.count_sign_in("10.0.0.1", "jo@example.com")) == [False] * 4 + [True] * 2
    assert _refused(1, lambda: limits.count_sign_in("10.0.0.1", "ann@example.com")) == [True]


_OTHERS = itertools.count()


def _knows(limits: Limits, address: str, account: str) -> bool:
    """Whether an address may sign in to an account that was tried from too many others."""
    _refused(6, lambda: limits.count_sign_in(f"10.2.0.{next(_OTHERS)}", account))
    return _refused(1, lambda: limits.count_sign_in(address, account)) == [False]


def test_an_address_is_known_for_a_time_from_its_last_sign_in(
    limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (limits_memory, limits_redis):
        monkeypatch.setattr(module, "KNOWN_SECONDS", 2)
    for _ in range(2):
        limits.signed_in("10.0.0.1", "jo@example.com")
        time.sleep(1.2)
    assert _knows(limits, "10.0.0.1", "jo@example.com")
    time.sleep(1)
    assert not _knows(limits, "10.0.0.1", "jo@example.com")


def test_an_owner_is_known_although_redis_came_back_empty(new_redis: NewRedis) -> None:
    url = new_redis()
    limits = RedisLimits(url, parse("30/minute"), parse("5/minute"))
    limits.open()
    limits.signed_in("10.0.0.1", "jo@example.com")
    with Redis.from_url(url) as client:
        client.flushall()
    assert _knows(limits, "10.0.0.1", "jo@example.com")
    limits.close()


def test_a_box_remembers_only_so_many_addresses_those_signed_in_from_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_memory, "MAX_KNOWN", 3)
    limits = MemoryLimits(parse("3/minute"), parse("5/minute"))
    for account in ("a", "b", "c", "a", "d"):
        limits.signed_in("10.0.0.1", account)
    assert [_knows(limits, "10.0.0.1", account) for account in "abcd"] == [True, False, True, True]
