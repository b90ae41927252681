"""The cache in Redis: looking, filling, and telling it what changed."""

import os
import random
from collections.abc import Callable, Iterable
from itertools import count, islice
from threading import Lock
from time import perf_counter
from typing import TypeVar

import msgspec

from conduit import metrics
from conduit.adapters import cache_scripts
from conduit.adapters.cache_records import (
    JITTER,
    ArticleLook,
    CommentsLook,
    Miss,
    PageLook,
    Part,
    ProfileLook,
    Record,
    Seen,
    TagsLook,
    slot_of_tag,
)
from conduit.adapters.redis_server import RedisServer, Reply, Script, evaluated, packed
from conduit.errors import UnavailableError

Look = TypeVar("Look")

LEASE_SECONDS = 1.0
# What a look may wait in a request that has waited for Redis already: those who wait for another's question look often.
LOOK_SECONDS = 0.02
# What may wait for so long after all the time there was is used up: a fill, for undone its lease would keep the others
# waiting; and the telling of a change, which is remembered where that is not enough. So a request waits 50 ms in all.
LAST_SECONDS = 0.01
# Changes that are remembered while Redis is away; with more than that, all that is cached is given up instead.
MOST_UNTOLD = 10_000
_TOLD_AT_ONCE = 200

_Change = tuple[frozenset[bytes], frozenset[bytes]]  # slots and keys


class RedisCache:
    """The cache at ``url``. Every look raises UnavailableError where Redis does not answer in time.

    Without ``single_flight`` whoever misses is told to ask the database: for measuring what the lease spares it.
    """

    def __init__(self, url: str, *, single_flight: bool = True) -> None:
        self._server = RedisServer(url, cache_scripts.ALL, self._before_use)
        self._lease = b"%d" % (LEASE_SECONDS * 1000 if single_flight else 0)
        self._process = os.urandom(6).hex().encode()
        self._numbers = count()
        self._lock = Lock()
        self._untold: set[_Change] = set()
        self._too_much = False
        self._seconds = {what: metrics.CACHE_SECONDS.labels(what) for what in ("look", "fill", "invalidate")}

    @property
    def is_there(self) -> bool:
        """Whether it was not given up: what it was asked may have been answered late, but is still answered."""
        return self._server.is_there

    def open(self) -> None:
        self._server.open()

    def close(self) -> None:
        self._server.close()

    # Looking ------------------------------------------------------------------------------------------------

    def article(self, article_id: int) -> tuple[ArticleLook, Seen]:
        reply, token = self._look(cache_scripts.ARTICLE, b"%d" % article_id)
        look = _read(_ARTICLE_LOOK, reply)
        return look, _seen(b"a:%d" % article_id, look.miss, token)

    def page(self, part: Part) -> tuple[PageLook, Seen]:
        words = part.kind.encode(), part.name.encode(), part.bounds
        reply, token = self._look(cache_scripts.PAGE, *words, slot_of_tag(part.name))
        look = _read(_PAGE_LOOK, reply)
        return look, _seen(b"l:%b%b%b" % words, look.miss, token)

    def comments(self, article_id: int) -> tuple[CommentsLook, Seen]:
        reply, token = self._look(cache_scripts.COMMENTS, b"%d" % article_id)
        look = _read(_COMMENTS_LOOK, reply)
        return look, _seen(b"m:%d" % article_id, look.miss, token)

    def profile(self, username: str) -> tuple[ProfileLook, Seen]:
        reply, token = self._look(cache_scripts.PROFILE, username.encode())
        look = _read(_PROFILE_LOOK, reply)
        return look, _seen(b"u:" + username.encode(), look.miss, token)

    def tags(self) -> tuple[TagsLook, Seen]:
        reply, token = self._look(cache_scripts.TAGS)
        look = _read(_TAGS_LOOK, reply)
        return look, _seen(b"t", look.miss, token)

    def _look(self, script: Script, *arguments: bytes) -> tuple[bytes, bytes]:
        token = b"%b-%d" % (self._process, next(self._numbers))
        reply = self._run("look", script, token, self._lease, *arguments, least=LOOK_SECONDS)
        assert isinstance(reply, bytes)
        return reply, token

    def _run(
        self, what: str, script: Script, *arguments: bytes, least: float = 0.0, must: bool = False
    ) -> Reply:
        started = perf_counter()
        try:
            return self._server.run(script, *arguments, least=least, must=must)
        finally:
            self._seconds[what].observe(perf_counter() - started)

    # Filling ------------------------------------------------------------------------------------------------

    def fill(self, seen: Seen, records: Iterable[Record]) -> None:
        """Keep what was read after the look, where nothing of it has changed since; let the next one lead."""
        arguments = [
            argument
            for record in records
            for argument in (
                record.key,
                record.slot,
                record.value,
                b"%d" % (record.seconds * 1000 * random.uniform(1 - JITTER, 1)),  # noqa: S311 - no secret
                b"1" if record.stamped else b"0",
            )
        ]
        try:
            stated = seen.token, seen.marks, seen.name
            refused = self._run("fill", cache_scripts.FILL, *stated, *arguments, least=LAST_SECONDS)
        except UnavailableError:
            return  # the next one asks the database too
        if isinstance(refused, int) and refused:
            metrics.CACHE_REFUSED.inc(refused)

    # Invalidating -------------------------------------------------------------------------------------------

    def invalidate(self, slots: Iterable[bytes], keys: Iterable[bytes]) -> None:
        """Called after the commit, whose answer waits for it. What Redis can't be told now is told before this process
        looks there again."""
        change = frozenset(slots), frozenset(keys)
        try:
            arguments = self._invalidation(change)
            self._run("invalidate", cache_scripts.INVALIDATE, *arguments, least=LAST_SECONDS, must=True)
        except UnavailableError:
            self._remember(change)

    def _invalidation(self, change: _Change) -> list[bytes]:
        slots, keys = change
        token = b"%b-%d" % (self._process, next(self._numbers))
        return [token, b"%d" % len(slots), *slots, *keys]

    def _remember(self, change: _Change) -> None:
        with self._lock:
            self._untold.add(change)
            if len(self._untold) > MOST_UNTOLD:
                self._untold.clear()
                self._too_much = True
        # Whoever has told it meanwhile what it missed did not know of this.
        self._server.give_up("it was not told of a change")

    def _before_use(self, ask: Callable[[bytes], Reply]) -> None:
        """Tell it what it missed. That is taken out before: an equal change that is remembered meanwhile may have been
        committed after the telling, and is to be told again.
        """
        with self._lock:  # and not while asking: requests wait for it
            too_much, self._too_much = self._too_much, False
        if too_much:
            try:
                ask(packed(b"FLUSHDB", b"ASYNC"))
            except BaseException:
                self._too_much = True
                raise
        while some := self._taken_out():
            slots, keys = (frozenset().union(*parts) for parts in zip(*some, strict=True))
            try:
                ask(evaluated(cache_scripts.INVALIDATE, *self._invalidation((slots, keys))))
            except BaseException:
                with self._lock:
                    self._untold |= some
                raise

    def _taken_out(self) -> set[_Change]:
        with self._lock:
            some = set(islice(self._untold, _TOLD_AT_ONCE))
            self._untold -= some
        return some


_ARTICLE_LOOK = msgspec.msgpack.Decoder(ArticleLook).decode
_PAGE_LOOK = msgspec.msgpack.Decoder(PageLook).decode
_COMMENTS_LOOK = msgspec.msgpack.Decoder(CommentsLook).decode
_PROFILE_LOOK = msgspec.msgpack.Decoder(ProfileLook).decode
_TAGS_LOOK = msgspec.msgpack.Decoder(TagsLook).decode


def _read(decode: Callable[[bytes], Look], reply: bytes) -> Look:
    """What a look found. Raises UnavailableError for a record of another shape: an older app may have kept it."""
    try:
        return decode(reply)
    except msgspec.DecodeError as error:
        raise UnavailableError("what the cache holds") from error


def _seen(name: bytes, miss: Miss, token: bytes) -> Seen:
    return Seen(name, (miss.marks or "").encode(), token)
