"""The cache's keys, its cache tags, and how long its entries live.

    shown:<article>  an article without its body    body:<article>  its body     said:<article>  its newest comments
    by:<user>        a user beside what they wrote  u:<name>        a user's id  used            the tags in use
    v:<user>         a viewer's own marks: the favourites, and who is followed
    l:<kind>:<whose>   a list: the ids of its newest articles, and how many it has; <whose> is a tag or a user's id
    lease:<key>   held by the caller that asks the database; of a list by its name and page
    versions      the version counters
    reached       by server with a replica: where the last change that was told is in its log

A value of another form gets another name: the cache may still have what an older app set.

**Version counters.** Each invalidation has a number. The hash ``versions`` holds the last one (``latest``) and, by
cache tag, that of the tag's last invalidation. A get that misses returns ``latest``, and the set that follows states
it. A value whose cache tag has a higher number by then is refused: it was read from the database before that change.
A list keeps the number that it was read under. Lists of favourites compare it at every get with that of the last
article that was deleted, since nobody knows in whose lists that one stands.

**Positions.** A change that only adds to a value, or counts, is made in the value, which stays (``cache_changes``).
That is right only in the order of the commits, and two boxes may call in another one. So a change has the position that
it has in its database's log, and ``versions`` holds the last one of each cache tag (``at:<tag>``). A change that comes
after a later one deletes what it would have changed. The rows of a cache tag are on one server, so positions compare;
where rows move to a server whose log is shorter, changes delete until its positions are higher.

Several ids share a cache tag. That costs a refused set now and then and is never wrong. The cache tags of rows belong
to logical shards.

**Replicas.** A get that misses also returns what ``reached`` has, and the read that follows asks no replica that is not
there yet. So it sees every change that was told before the get, as it would on the primary, and the version counters
find what was told since. A generation that has just begun may have forgotten positions: then the primary is asked. When
the first change of a new timeline is told, there was a failover, which may have lost what is cached: it is emptied.

**The generation** names the life of the counters. When Redis has lost them, numbers start anew, and what was read under
another generation is refused. When it ``began``, in seconds of Redis' clock, tells how long the cache has been filling.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from conduit.ids import SEQUENCE_BITS, SHARD_BITS, SHARDS, shard_of

# Only a backstop, because changes invalidate. A box that dies between its commit and its invalidation leaves the old
# value for so long. Of a hundred thousand articles read by Zipf's law, fifty a second, half an hour holds 78 % of the
# reads (computed); most articles are not read again within that time.
ENTRY_SECONDS = 6 * 3600.0
LIST_SECONDS = 1800.0
NEGATIVE_SECONDS = 5.0  # for what does not exist, or is too large
JITTER = 0.2

# Lists are cached down to this depth, and as many comments: nearly all readers read no further.
DEPTH = 100

# Of a viewer with more, each page asks the database.
MOST_MARKS = 1_000

TAGS_PER_SHARD = 64
# Cache tags of user names and of article tags, which belong to no shard, come after those of the shards.
FIRST_NAME_TAG = SHARDS * TAGS_PER_SHARD
FIRST_TAG_TAG = FIRST_NAME_TAG + TAGS_PER_SHARD
TAG_TAGS = 256  # each publication takes two or three of them
PUBLISHED, TAGGED, DELETED = b"published", b"tagged", b"deleted"


class ListKey(NamedTuple):
    """A page of a list. ``kind`` is home, tag, author or favorited; ``name`` is the tag or the user, or empty."""

    kind: str
    name: str
    limit: int
    offset: int


def cache_tag(row_id: int) -> bytes:
    """The cache tag of an article or a user: one of the 64 of its logical shard."""
    return b"%d" % (shard_of(row_id) * TAGS_PER_SHARD + (row_id >> SHARD_BITS + SEQUENCE_BITS) % TAGS_PER_SHARD)


def cache_tag_of_name(username: str) -> bytes:
    return b"%d" % (FIRST_NAME_TAG + zlib.crc32(username.encode()) % TAGS_PER_SHARD)


def cache_tag_of_tag(tag: str) -> bytes:
    return b"%d" % (FIRST_TAG_TAG + zlib.crc32(tag.encode()) % TAG_TAGS)


def cache_tag_of_list(key: ListKey, owner: int | None) -> bytes:
    """``owner`` is the id of the user whose list it is, where it is an author's or a fan's."""
    if key.kind == "home":
        return PUBLISHED
    return cache_tag_of_tag(key.name) if key.kind == "tag" else cache_tag(owner or 0)


def article_keys(article_id: int) -> list[bytes]:
    return [summary_key(article_id), body_key(article_id), comments_key(article_id)]


def summary_key(article_id: int) -> bytes:
    return b"shown:%d" % article_id


def body_key(article_id: int) -> bytes:
    return b"body:%d" % article_id


def comments_key(article_id: int) -> bytes:
    return b"said:%d" % article_id


def user_keys(user_id: int, names: Iterable[str]) -> list[bytes]:
    return [author_key(user_id), *map(name_key, names)]


def author_key(user_id: int) -> bytes:
    return b"by:%d" % user_id


def marks_key(user_id: int) -> bytes:
    return b"v:%d" % user_id


def name_key(username: str) -> bytes:
    return b"u:" + username.encode()


HOME_KEY = b"l:home:"


def tag_list_key(tag: str) -> bytes:
    return b"l:tag:" + tag.encode()


def author_list_key(user_id: int) -> bytes:
    return b"l:author:%d" % user_id


def favorites_key(user_id: int) -> bytes:
    return b"l:favorited:%d" % user_id


def list_key(key: ListKey, owner: int | None) -> bytes:
    whose = key.name.encode() if owner is None else b"%d" % owner
    return b"l:%b:%b" % (key.kind.encode(), whose)


def page_key(key: ListKey) -> bytes:
    """The name of the lease of who reads this page."""
    return b"%b/%d/%d" % (list_key(key, None), key.limit, key.offset)


TAGS_KEY = b"used"
