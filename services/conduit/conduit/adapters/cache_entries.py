"""What is cached: the values by kind, and the entries that a set keeps.

Each value stands under a key of its own (``cache_keys``), so that a change touches one of them wherever it is shown.
What is shown is kept as fragments of JSON (``fragments.py``), and what a script reads of it as msgpack. Two values
stand for others: what does not exist (negative caching), and what is too large to be kept. Both are cached for seconds,
so that nobody waits for another caller to fill them in.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from conduit.adapters import cache_keys as keys
from conduit.adapters.cache_keys import ENTRY_SECONDS, LIST_SECONDS, NEGATIVE_SECONDS, ListKey
from conduit.fragments import ArticleFragments, CommentFragment
from conduit.schemas import Encoded

# A reply that is long on its way would look like one of a Redis that does not answer.
LARGEST_VALUE = 64 << 10
# An article's value begins with the count of its favourites and its author's id, both padded with blanks.
AUTHOR_AT, ARTICLE_AT = 10, 30
COMMENT_END = b"\0"  # JSON has none


class Absent(Enum):
    """Stands for a value. None begins like these."""

    NOT_FOUND = b"not found"
    TOO_LARGE = b"too large"


encode = msgspec.msgpack.Encoder().encode


class CachedArticle(NamedTuple):
    """An article in a list, the same for every viewer, and apart from it the count of its favourites."""

    favorites: bytes
    article: ArticleFragments


class Entry(NamedTuple):
    """One value to keep, and the cache tag that may refuse it.

    A ``versioned`` value is the rest of an array that begins with the generation and the version it was read under: a
    list's, whose scripts know what is in it.
    """

    key: bytes
    cache_tag: bytes
    value: bytes
    seconds: float
    versioned: tuple[Any, ...] | None = None


def article_entries(article_id: int, shown: CachedArticle, body: bytes, author: bytes) -> list[Entry]:
    return [
        summary_entry(article_id, shown),
        _large(keys.body_key(article_id), keys.cache_tag(article_id), body),
        author_entry(shown.article.author_id, author),
    ]


def no_article_entry(article_id: int) -> Entry:
    return _absent(keys.summary_key(article_id), keys.cache_tag(article_id), Absent.NOT_FOUND)


def summary_entry(article_id: int, shown: CachedArticle) -> Entry:
    value = counted(shown.favorites) + b"%20d" % shown.article.author_id + encode(shown.article)
    return Entry(keys.summary_key(article_id), keys.cache_tag(article_id), value, ENTRY_SECONDS)


def counted(favorites: bytes) -> bytes:
    """The count of favourites, as a favourite overwrites it."""
    return favorites.rjust(AUTHOR_AT)


def author_entry(user_id: int, author: bytes) -> Entry:
    return Entry(keys.author_key(user_id), keys.cache_tag(user_id), author, ENTRY_SECONDS)


def name_entry(username: str, user_id: int | None) -> Entry:
    """``user_id`` is None where nobody has that name."""
    key, tag = keys.name_key(username), keys.cache_tag_of_name(username)
    return _absent(key, tag, Absent.NOT_FOUND) if user_id is None else Entry(key, tag, b"%d" % user_id, ENTRY_SECONDS)


def list_entry(key: ListKey, owner: int | None, ids: Sequence[int], authors: Sequence[int], total: int) -> Entry:
    """``ids`` and ``authors`` are those of the newest articles, down to ``DEPTH``."""
    tag = keys.cache_tag_of_list(key, owner)
    return Entry(keys.list_key(key, owner), tag, b"", LIST_SECONDS, versioned=(ids, authors, total))


def marks_entry(user_id: int, favorites: Iterable[int], followed: Iterable[int]) -> Entry:
    return Entry(keys.marks_key(user_id), keys.cache_tag(user_id), encode((favorites, followed)), ENTRY_SECONDS)


def no_marks_entry(user_id: int) -> Entry:
    """Where there are too many."""
    return _absent(keys.marks_key(user_id), keys.cache_tag(user_id), Absent.TOO_LARGE)


def tags_entry(tags: Encoded) -> Entry:
    return Entry(keys.TAGS_KEY, keys.TAGGED, bytes(tags), LIST_SECONDS)


def comments_entry(article_id: int, comments: Sequence[CommentFragment] | None) -> Entry:
    """Their ids and their authors', both in msgpack, and their fragments. ``comments`` is None without the article."""
    key, tag = keys.comments_key(article_id), keys.cache_tag(article_id)
    if comments is None:
        return _absent(key, tag, Absent.NOT_FOUND)
    ids = encode([comment.id for comment in comments]) + encode([comment.author_id for comment in comments])
    return _large(key, tag, ids + COMMENT_END.join(comment.head for comment in comments))


def _large(key: bytes, tag: bytes, value: bytes) -> Entry:
    """An entry for a value that may be too large to be kept."""
    if len(value) > LARGEST_VALUE:
        return _absent(key, tag, Absent.TOO_LARGE)
    return Entry(key, tag, value, ENTRY_SECONDS)


def _absent(key: bytes, tag: bytes, why: Absent) -> Entry:
    return Entry(key, tag, why.value, NEGATIVE_SECONDS)
