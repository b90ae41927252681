"""One step of a change, on one cached value: it is right, or the value is deleted."""

from collections.abc import Sequence
from itertools import permutations

import msgspec
import pytest
from redis import Redis

from conduit.adapters.cache_changes import Change, Step, is_favorite_of, list_gains, list_loses, uses_tags
from conduit.adapters.cache_entries import Absent, encode, tags_entry
from conduit.adapters.cache_redis import RedisCache
from conduit.errors import UnavailableError
from conduit.fragments import tags_fragment
from conduit_testing.waiting import until

LIST = b"l:home:"
TAG = b"7"
GONE = None


def _list(inside: Redis, known: Sequence[int], total: int) -> None:
    inside.set(LIST, encode(("generation", 0, known, [of * 10 for of in known], total)), px=60_000)


def _ids(inside: Redis) -> tuple[list[int], int] | None:
    found = inside.get(LIST)
    if found is None:
        return GONE
    _, _, known, authors, total = msgspec.msgpack.decode(found)  # type: ignore[arg-type]  # redis-py's annotation
    assert authors == [of * 10 for of in known]
    assert -1 != inside.pttl(LIST) <= 60_000, "it lives no longer for a change"
    return known, total


@pytest.mark.parametrize(
    ("known", "total", "steps", "then"),
    [
        ([9, 5], 2, [("gain", 12)], ([12, 9, 5], 3)),
        ([9, 5], 2, [("gain", 7)], ([9, 7, 5], 3)),
        ([9, 5], 2, [("gain", 1)], ([9, 5, 1], 3)),
        ([], 0, [("gain", 1)], ([1], 1)),
        ([9, 5], 2, [("gain", 9)], ([9, 5], 2)),  # who set it has read it
        ([9, 5], 8, [("gain", 7)], ([9, 7, 5], 9)),
        ([9, 5], 8, [("gain", 1)], GONE),
        ([9, 5], 2, [("lose", 9)], ([5], 1)),
        ([9, 5], 2, [("lose", 5)], ([9], 1)),
        ([9, 5], 2, [("lose", 7)], ([9, 5], 2)),  # who set it read it after the deletion
        ([9, 5], 8, [("lose", 7)], ([9, 5], 8)),
        ([9, 5], 8, [("lose", 1)], GONE),
        ([9], 1, [("lose", 9), ("gain", 8)], ([8], 1)),
        (range(200, 100, -1), 300, [("gain", 201)], ([*range(201, 101, -1)], 301)),
        (range(200, 100, -1), 100, [("gain", 201)], ([*range(201, 101, -1)], 101)),
        (range(200, 100, -1), 300, [("lose", 101), ("gain", 100)], GONE),
    ],
)
def test_a_list_gains_and_loses_an_article(
    *,
    cache: RedisCache,
    inside: Redis,
    known: Sequence[int],
    total: int,
    steps: list[tuple[str, int]],
    then: tuple[list[int], int] | None,
) -> None:
    _list(inside, list(known), total)
    for position, (what, article_id) in enumerate(steps, 1):
        step = list_gains(LIST, article_id, article_id * 10) if what == "gain" else list_loses(LIST, article_id)
        for _ in range(2):  # an answer that was lost is asked for again
            cache.invalidate([TAG], [], [Change(TAG, position, (step,))])
    assert _ids(inside) == then


def test_a_change_that_comes_after_a_later_one_deletes_its_value(cache: RedisCache, inside: Redis) -> None:
    for order in permutations((50, 60)):
        inside.flushdb()
        _list(inside, [3], 1)
        for position in order:
            step = list_gains(LIST, 9, 90) if position == 50 else list_loses(LIST, 9)
            cache.invalidate([TAG], [], [Change(TAG, position, (step,))])
        assert _ids(inside) == (([3], 1) if order == (50, 60) else GONE)
    _list(inside, [3], 1)
    cache.invalidate([TAG], [], [Change(b"8", 10, (list_gains(LIST, 4, 40),))])
    assert _ids(inside) == ([4, 3], 2), "another cache tag has positions of its own"


def test_where_nobody_knows_the_order_the_value_is_deleted(cache: RedisCache, inside: Redis) -> None:
    _list(inside, [3], 1)
    cache.invalidate([TAG], [], [Change(TAG, 0, (list_gains(LIST, 9, 90),))])
    assert _ids(inside) is GONE


def _steps() -> list[Step]:
    return [list_gains(LIST, 1, 2), list_loses(LIST, 1), is_favorite_of(5, 3), uses_tags(["a"])]


@pytest.mark.parametrize("step", _steps(), ids=lambda step: step.what)
def test_a_change_of_what_is_not_cached_does_nothing_and_of_what_stands_for_it_deletes_that(
    cache: RedisCache, inside: Redis, step: Step
) -> None:
    cache.invalidate([TAG], [], [Change(TAG, 1, (step,))])
    assert not inside.exists(step.key)
    for absent in Absent:
        inside.set(step.key, absent.value)
        cache.invalidate([TAG], [], [Change(TAG, 1, (step,))])
        assert not inside.exists(step.key)


def test_the_tags_in_use_stay_where_an_article_gets_some_of_them(cache: RedisCache, inside: Redis) -> None:
    tags = ["", "plain", 'quo"ted', "back\\slash", "\x01\n", "é ß 中文 😀", "\u2028"]
    entry = tags_entry(tags_fragment(tags))
    for used, stays in (*((tag, True) for tag in tags), ("Plain", False)):
        inside.set(entry.key, entry.value)
        cache.invalidate([TAG], [], [Change(TAG, 1, (uses_tags([used]),))])
        assert inside.exists(entry.key) == stays, used


def test_a_change_that_was_not_answered_deletes_the_value_later(
    cache: RedisCache, inside: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    _list(inside, [3], 1)

    def unanswered(*_: object, **__: object) -> None:
        raise UnavailableError("Redis")

    monkeypatch.setattr(cache._server, "call", unanswered)
    cache.invalidate([TAG], [], [Change(TAG, 5, (list_gains(LIST, 9, 90),))])
    until(lambda: _ids(inside) is GONE, "it was not delivered")
