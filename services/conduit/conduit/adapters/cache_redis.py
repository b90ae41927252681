"""The cache in Redis: get, set and invalidate."""

import os
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from redis.commands.core import Script

from conduit import metrics
from conduit.adapters import cache_scripts, positions
from conduit.adapters.cache_changes import Change
from conduit.adapters.cache_entries import (
    ARTICLE_AT,
    AUTHOR_AT,
    COMMENT_END,
    Absent,
    CachedArticle,
    Entry,
    encode,
)
from conduit.adapters.cache_keys import (
    JITTER,
    TAGS_KEY,
    ListKey,
    comments_key,
    marks_key,
    name_key,
    page_key,
    summary_key,
)
from conduit.adapters.cache_pending import Invalidation, PendingInvalidations
from conduit.adapters.cache_results import (
    FoundArticle,
    FoundComments,
    FoundList,
    FoundMarks,
    FoundProfile,
    FoundTags,
    Miss,
    ShownComment,
)
from conduit.adapters.redis_server import RedisServer
from conduit.errors import UnavailableError
from conduit.events import Committed
from conduit.fragments import ArticleFragments
from conduit.schemas import Encoded

Found = TypeVar("Found")
Value = TypeVar("Value")

LEASE_SECONDS = 1.0
# What a get may wait in a request that has waited for Redis before: a late answer is tried again, and callers who wait
# for another's lease repeat their get.
GET_SECONDS = 0.02
# What a set or an invalidation may wait after the request's time is used up: an entry that is not set would keep the
# lease from the callers who wait for it. So where Redis does not answer, a request waits for 50 ms in all.
LAST_SECONDS = 0.01


class RedisCache:
    """The cache at ``url``. Every get raises UnavailableError where Redis does not answer in time.

    Without ``single_flight`` every get that misses holds a lease: for measuring what leases save.
    """

    def __init__(self, url: str, *, single_flight: bool = True, connections: int = 1) -> None:
        self._server = RedisServer(url, self._deliver_pending, connections=connections)
        self._lease = b"%d" % (LEASE_SECONDS * 1000 if single_flight else 0)
        self._process = os.urandom(6).hex().encode()
        self._numbers = count()
        self._pending = PendingInvalidations()
        register = self._server.client.register_script
        self._get_article = register(cache_scripts.GET_ARTICLE)
        self._get_list = register(cache_scripts.GET_LIST)
        self._get_comments = register(cache_scripts.GET_COMMENTS)
        self._get_profile = register(cache_scripts.GET_PROFILE)
        self._get_marks = register(cache_scripts.GET_MARKS)
        self._get_tags = register(cache_scripts.GET_TAGS)
        self._get_reached = register(cache_scripts.GET_REACHED)
        self._set = register(cache_scripts.SET)
        self._invalidate = register(cache_scripts.INVALIDATE)
        self._seconds = {call: metrics.CACHE_SECONDS.labels(call) for call in ("get", "set", "invalidate")}

    @property
    def is_available(self) -> bool:
        """Whether it may be called: one late answer does not change that."""
        return self._server.is_available

    def has_answered_since(self, when: float) -> bool:
        """Whether any call of this process was answered after that, on time.monotonic's clock."""
        return self._server.has_answered_since(when)

    def open(self) -> None:
        self._server.open()

    def close(self) -> None:
        self._server.close()

    # Get ----------------------------------------------------------------------------------------------------

    def get_article(self, article_id: int, token: bytes) -> FoundArticle:
        def decode(summary: bytes, body: bytes, author: bytes | None, miss: Miss | None) -> FoundArticle:
            return FoundArticle(_value(_article, summary), _value(bytes, body), author, miss)

        return self._get(self._get_article, token, summary_key(article_id), decode, b"%d" % article_id)

    def get_list(self, key: ListKey, token: bytes) -> FoundList:
        def decode(
            total: int | None,
            page: tuple[list[int], list[bytes]],
            people: tuple[list[int], list[bytes]],
            miss: Miss | None,
        ) -> FoundList:
            ids, summaries = page
            return FoundList(total, ids, [_value(_article, summary) for summary in summaries], _known(people), miss)

        kind, name, lease = key.kind.encode(), key.name.encode(), page_key(key)
        return self._get(self._get_list, token, lease, decode, kind, name, b"%d" % key.limit, b"%d" % key.offset)

    def get_comments(self, article_id: int, token: bytes) -> FoundComments:
        def decode(
            author_ids: list[int], comments: bytes | None, people: tuple[list[int], list[bytes]], miss: Miss | None
        ) -> FoundComments:
            if comments in _ABSENT:
                return FoundComments(_ABSENT[comments], {}, miss)
            heads = comments.split(COMMENT_END) if comments else []
            return FoundComments(list(map(ShownComment, author_ids, heads)), _known(people), miss)

        return self._get(self._get_comments, token, comments_key(article_id), decode, b"%d" % article_id)

    def get_profile(self, username: str, token: bytes) -> FoundProfile:
        def decode(user_id: bytes, author: bytes | None, miss: Miss | None) -> FoundProfile:
            return FoundProfile(_value(int, user_id), author, miss)

        return self._get(self._get_profile, token, name_key(username), decode, username.encode())

    def get_marks(self, viewer: int, articles: Sequence[int], users: Sequence[int], token: bytes) -> FoundMarks:
        def decode(
            too_many: bytes | None, favorites: list[int], followed: list[int], miss: Miss | None
        ) -> FoundMarks:
            return FoundMarks(too_many is not None, favorites, followed, miss)

        ids = [b"%d" % row_id for row_id in (viewer, len(articles), *articles, *users)]
        return self._get(self._get_marks, token, marks_key(viewer), decode, *ids)

    def get_tags(self, token: bytes) -> FoundTags:
        def decode(found: bytes | None, miss: Miss | None) -> FoundTags:
            return FoundTags(None if found is None else Encoded(found), miss)

        return self._get(self._get_tags, token, TAGS_KEY, decode)

    def _get(
        self, script: Script, token: bytes, name: bytes, decode: Callable[..., Found], *arguments: bytes
    ) -> Found:
        """What the script found, the parts of its reply passed to ``decode``; ``name`` is that of the lease."""
        *parts, miss = self._call("get", script, token, self._lease, *arguments, at_least=GET_SECONDS)
        try:
            return decode(*parts, miss and _miss(name, token, miss))
        except (msgspec.DecodeError, ValueError) as error:
            # A value of another shape: an older app may have set it.
            raise UnavailableError("the cache's content") from error

    def reached(self) -> dict[str, str] | None:
        """By server with a replica: where the last change that the cache was told of is in its log.

        None where it may have forgotten one that a replica lacks.
        """
        return positions.by_server(*self._call("get", self._get_reached, self.new_token(), at_least=GET_SECONDS))

    # Set ----------------------------------------------------------------------------------------------------

    def set(self, miss: Miss, entries: Iterable[Entry]) -> None:
        """Keep what was read from the database after a miss, unless it was invalidated since, and end the lease."""
        arguments = [
            argument
            for entry in entries
            for argument in (
                entry.key,
                entry.cache_tag,
                entry.value if entry.versioned is None else _versioned(miss, entry.versioned),
                b"%d" % (entry.seconds * 1000 * random.uniform(1 - JITTER, 1)),  # noqa: S311 - no secret
            )
        ]
        read_under = miss.generation, miss.version
        try:
            refused = self._call(
                "set", self._set, miss.token, *read_under, miss.name, *arguments, at_least=LAST_SECONDS
            )
        except UnavailableError:
            return  # the next caller asks the database, too
        if refused:
            metrics.CACHE_REFUSED.inc(refused)

    def release_later(self, name: bytes, token: bytes) -> None:
        """End the lease that a get may have been given whose answer was late; nobody waits for that."""
        nothing_read = b"", b"0"
        give_back = partial(self._call, "set", self._set, token, *nothing_read, name)
        self._server.in_background("giving a lease back", give_back)

    # Invalidate ---------------------------------------------------------------------------------------------

    def invalidate(
        self,
        tags: Iterable[bytes],
        keys: Iterable[bytes],
        changes: Iterable[Change] = (),
        committed: Committed | None = None,
    ) -> None:
        """Outdate what has these cache tags, delete these keys, and make these changes; called after a commit, before
        its answer. From then on nothing is kept that was read from a replica without the commit.

        Without an answer from Redis the circuit opens, and the next probe delivers the invalidation before this process
        uses the cache again.
        """
        reached = frozenset() if committed is None else frozenset([committed])
        invalidation = Invalidation(frozenset(tags), frozenset(keys), tuple(changes), reached)
        arguments = self._invalidation(invalidation)
        try:
            self._call("invalidate", self._invalidate, *arguments, at_least=LAST_SECONDS, required=True)
        except UnavailableError:
            self._pending.add(invalidation)
            # A probe that has just delivered the others did not know of this one.
            self._server.open_circuit("an invalidation was not delivered")

    def _deliver_pending(self) -> None:
        self._pending.deliver(
            lambda invalidation: self._invalidate(args=self._invalidation(invalidation)),
            lambda: self._server.client.flushdb(asynchronous=True),
        )

    def _invalidation(self, invalidation: Invalidation) -> list[bytes]:
        tags, keys, changes, reached = invalidation
        numbers = b"%d" % len(reached), b"%d" % len(tags), b"%d" % len(keys)
        where = [text.encode() for committed in reached for text in committed]
        return [self.new_token(), *numbers, *where, *tags, *keys, *(change.encoded() for change in changes)]

    def new_token(self) -> bytes:
        """Who holds a lease. Who gets again gives the same one: an answer that was late may have given the lease."""
        return b"%b-%d" % (self._process, next(self._numbers))

    def _call(
        self, call: str, script: Script, *arguments: bytes, at_least: float = 0.0, required: bool = False
    ) -> Any:
        started = perf_counter()
        try:
            return self._server.call(lambda: self._server.run(script, *arguments), at_least=at_least, required=required)
        finally:
            self._seconds[call].observe(perf_counter() - started)


_ARTICLE = msgspec.msgpack.Decoder(ArticleFragments).decode
_ABSENT: dict[bytes | None, Absent | None] = {None: None, **{absent.value: absent for absent in Absent}}


def _value(decode: Callable[[bytes], Value], found: bytes | None) -> Any:
    """A value that was found, an Absent in its place, or None for nothing."""
    return _ABSENT[found] if found in _ABSENT else decode(found)  # type: ignore[arg-type]  # None is in it


def _article(found: bytes) -> CachedArticle:
    return CachedArticle(found[:AUTHOR_AT].lstrip(), _ARTICLE(found[ARTICLE_AT:]))


def _known(people: tuple[list[int], list[bytes]]) -> dict[int, bytes]:
    return {user_id: author for user_id, author in zip(*people, strict=True) if author is not None}


def _miss(name: bytes, token: bytes, found: Sequence[Any]) -> Miss:
    generation, version, leased, reached = found
    return Miss(name, token, generation, version, leased == 1, positions.by_server(*reached))


def _versioned(miss: Miss, rest: tuple[Any, ...]) -> bytes:
    return encode((miss.generation.decode(), int(miss.version), *rest))
