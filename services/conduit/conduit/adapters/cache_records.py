"""What is cached, under which keys, and how an old value is kept from coming back.

Records, each under a key of its own, so that a change touches one of them wherever it is shown:

    s:<article>  an article without its body     b:<article>  its body       m:<article>  its newest comments
    p:<user>     a user's card                   u:<name>     a user's id    t            the tags in use
    l:<list>     a page of a list: ids of articles and authors, and the count

What is known not to exist is kept as well, as false, for seconds. Likewise what is too large to be kept, as true, so
that nobody waits for another to fill it in.

**Marks.** Invalidations are numbered. ``marks`` is a hash that holds the last number (``now``) and, by slot, that of
its last invalidation; a look that misses brings back ``now``, and a fill states it. A record whose slot has a higher
number by then is refused: it was read from the database before that change. A page of a list keeps the number instead,
and is held against its slots at every look, so that one number invalidates lists without end and nothing is deleted.
Several ids share a slot, which costs a refused fill now and then and is never wrong. A slot belongs to one logical
shard: where replicas are read, a slot's number can be joined by the position of the commit in that shard's log, and a
fill by the position that its replica had replayed; a lower one is refused in the same line of the script.

``epoch`` names the life of the marks. Where they were lost, Redis having been started anew, numbers begin again, and
what was read under another epoch is refused too.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from conduit.ids import SEQUENCE_BITS, SHARD_BITS, SHARDS, shard_of

# Only a backstop: what changes is told. A box that dies between a commit and the telling leaves what it changed as it
# was for that long. Of a hundred thousand articles read by Zipf's law, fifty a second, five minutes hold 59 % of the
# reads and half an hour 78 % (computed).
RECORD_SECONDS = 1800.0
LIST_SECONDS = 300.0
UNKNOWN_SECONDS = 5.0
JITTER = 0.2

SLOTS_A_SHARD = 64
# Slots of names and of tags, which lie with no row's shard, come after those of the shards.
NAMES = SHARDS * SLOTS_A_SHARD
TAGS = NAMES + SLOTS_A_SHARD
SLOTS_OF_TAGS = 256  # each publication takes two or three of them
PUBLISHED, TAGGED, DELETED = b"published", b"tagged", b"deleted"

# An answer that is long on its way would count as one of a Redis that is gone.
LARGEST_RECORD = 64 << 10

UNKNOWN: Literal[False] = False
TOO_LARGE: Literal[True] = True
_ENCODE = msgspec.msgpack.Encoder().encode


class Card(Struct, array_like=True, frozen=True, gc=False):
    """What is shown of a user beside whatever they wrote."""

    username: str
    bio: str | None
    image: str | None


class Summary(Struct, array_like=True, frozen=True, gc=False):
    """An article in a list, as everybody sees it, with its author's id."""

    author_id: int
    slug: str
    title: str
    description: str
    tag_list: list[str]
    created_at: str
    updated_at: str
    favorites_count: int
    cover_digest: str | None
    cover_state: str | None


class Comment(Struct, array_like=True, frozen=True, gc=False):
    id: int
    body: str
    created_at: str
    updated_at: str
    author_id: int


class Part(NamedTuple):
    """A page of a list. ``kind`` is home, tag, author or favorited, and ``name`` whose list it is."""

    kind: str
    name: str
    limit: int
    offset: int

    @property
    def bounds(self) -> bytes:
        return b"/%d/%d" % (self.limit, self.offset)


class Seen(NamedTuple):
    """What a look that missed leaves for the fill: the marks as they were, and whose turn it is."""

    name: bytes
    marks: bytes
    token: bytes


class Record(NamedTuple):
    """One thing to be filled in. A page of a list is ``stamped`` with the marks it was read under."""

    key: bytes
    slot: bytes
    value: bytes
    seconds: float
    stamped: bool = False


class Miss(Struct, array_like=True, frozen=True):
    """``leads``: this one is to ask the database; else another is at it already. None where nothing is missing."""

    marks: str | None
    leads: bool | None


class ArticleLook(Struct, array_like=True, frozen=True):
    summary: Summary | bool | None
    body: str | bool | None
    card: Card | None
    miss: Miss


class PageLook(Struct, array_like=True, frozen=True):
    """``owner`` is who the list is named for, where it is: False for nobody of that name. ``ids`` is None where the
    page is not there."""

    owner: int | bool | None
    ids: list[int] | None
    authors: list[int] | None
    count: int | None
    summaries: list[Summary | bool | None]
    cards: list[Card | None]
    miss: Miss


class CommentsLook(Struct, array_like=True, frozen=True):
    """``authors`` is False where there is no such article, True where its comments are too large."""

    authors: list[int] | bool | None
    comments: list[Comment] | None
    cards: list[Card | None]
    miss: Miss


class ProfileLook(Struct, array_like=True, frozen=True):
    owner: int | bool | None
    card: Card | None
    miss: Miss


class TagsLook(Struct, array_like=True, frozen=True):
    tags: list[str] | None
    miss: Miss


# Slots, keys and records -----------------------------------------------------------------------------------


def slot_of(row_id: int) -> bytes:
    """The slot of an article or a user: one of the 64 of its logical shard."""
    return b"%d" % (shard_of(row_id) * SLOTS_A_SHARD + (row_id >> SHARD_BITS + SEQUENCE_BITS) % SLOTS_A_SHARD)


def slot_of_name(username: str) -> bytes:
    return b"%d" % (NAMES + zlib.crc32(username.encode()) % SLOTS_A_SHARD)


def slot_of_tag(tag: str) -> bytes:
    return b"%d" % (TAGS + zlib.crc32(tag.encode()) % SLOTS_OF_TAGS)


def article_keys(article_id: int) -> list[bytes]:
    return [summary_key(article_id), body_key(article_id), comments_key(article_id)]


def summary_key(article_id: int) -> bytes:
    return b"s:%d" % article_id


def body_key(article_id: int) -> bytes:
    return b"b:%d" % article_id


def comments_key(article_id: int) -> bytes:
    return b"m:%d" % article_id


def user_keys(user_id: int, names: Iterable[str]) -> list[bytes]:
    return [card_key(user_id), *map(name_key, names)]


def card_key(user_id: int) -> bytes:
    return b"p:%d" % user_id


def name_key(username: str) -> bytes:
    return b"u:" + username.encode()


def summary_record(article_id: int, summary: Summary) -> Record:
    return Record(summary_key(article_id), slot_of(article_id), _ENCODE(summary), RECORD_SECONDS)


def body_record(article_id: int, body: str) -> Record:
    return _large(body_key(article_id), slot_of(article_id), _ENCODE(body))


def no_article_record(article_id: int) -> Record:
    return Record(summary_key(article_id), slot_of(article_id), _ENCODE(UNKNOWN), UNKNOWN_SECONDS)


def comments_record(article_id: int, comments: Sequence[Comment] | None) -> Record:
    if comments is None:
        return Record(comments_key(article_id), slot_of(article_id), _ENCODE(UNKNOWN), UNKNOWN_SECONDS)
    authors = list(dict.fromkeys(comment.author_id for comment in comments))
    return _large(comments_key(article_id), slot_of(article_id), _ENCODE(authors) + _ENCODE(comments))


def _large(key: bytes, slot: bytes, value: bytes) -> Record:
    """A record that may be too large to be kept, and then says so."""
    if len(value) > LARGEST_RECORD:
        return Record(key, slot, _ENCODE(TOO_LARGE), UNKNOWN_SECONDS)
    return Record(key, slot, value, RECORD_SECONDS)


def card_record(user_id: int, card: Card) -> Record:
    return Record(card_key(user_id), slot_of(user_id), _ENCODE(card), RECORD_SECONDS)


def name_record(username: str, user_id: int | None) -> Record:
    if user_id is None:
        return Record(name_key(username), slot_of_name(username), _ENCODE(UNKNOWN), UNKNOWN_SECONDS)
    return Record(name_key(username), slot_of_name(username), _ENCODE(user_id), RECORD_SECONDS)


def page_record(part: Part, owner: int | None, ids: list[int], authors: list[int], total: int) -> Record:
    """``owner`` is who the list is named for, where it is an author's or a fan's."""
    whose = part.name.encode() if owner is None else b"%d" % owner
    slot = PUBLISHED if part.kind == "home" else slot_of_tag(part.name) if part.kind == "tag" else slot_of(owner or 0)
    value = _ENCODE(ids) + _ENCODE(authors) + _ENCODE(total)
    return Record(b"l:%b%b%b" % (part.kind.encode(), whose, part.bounds), slot, value, LIST_SECONDS, stamped=True)


def tags_record(tags: list[str]) -> Record:
    return Record(b"t", TAGGED, _ENCODE(tags), LIST_SECONDS, stamped=True)
