"""What is cached: the values by kind, and the entries that a set keeps.

Each value stands under a key of its own (``cache_keys``), so that a change touches one of them wherever it is shown.
Values are msgpack, but for two that the scripts compare: what does not exist (negative caching), and what is too large
to be kept. Both are cached for seconds, so that nobody waits for another caller to fill them in.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from conduit.adapters import cache_keys as keys
from conduit.adapters.cache_keys import ENTRY_SECONDS, LIST_SECONDS, NEGATIVE_SECONDS, ListKey
from conduit.rows import ArticleRow, CommentRow, ListRow, PersonRow

# A reply that is long on its way would look like one of a Redis that does not answer.
LARGEST_VALUE = 64 << 10
COUNT_DIGITS = 10


class Absent(Enum):
    """Stands for a value. msgpack never begins like these."""

    NOT_FOUND = b"not found"
    TOO_LARGE = b"too large"


encode = msgspec.msgpack.Encoder().encode


class AuthorSnippet(Struct, array_like=True, frozen=True, gc=False):
    """What is shown of a user beside whatever they wrote."""

    username: str
    bio: str | None
    image: str | None


class Summary(Struct, array_like=True, gc=False):
    """An article in a list, the same for every viewer. Scripts read the author's id, so it comes first."""

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


class CachedComment(Struct, array_like=True, frozen=True, gc=False):
    id: int
    body: str
    created_at: str
    updated_at: str
    author_id: int



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


def article_entries(row: ArticleRow) -> list[Entry]:
    return [
        summary_entry(row.id, summary_of(row)),
        _large(keys.body_key(row.id), keys.cache_tag(row.id), encode(row.body)),
        author_entry(row.author_id, author_of(row)),
    ]


def no_article_entry(article_id: int) -> Entry:
    return _absent(keys.summary_key(article_id), keys.cache_tag(article_id), Absent.NOT_FOUND)


def summary_entry(article_id: int, summary: Summary) -> Entry:
    value = counted(summary.favorites_count) + encode(summary)
    return Entry(keys.summary_key(article_id), keys.cache_tag(article_id), value, ENTRY_SECONDS)


def counted(favorites_count: int) -> bytes:
    """The count of favourites, which stands before the article: a favourite overwrites it, and leaves the rest."""
    return b"%0*d" % (COUNT_DIGITS, favorites_count)


def author_entry(user_id: int, author: AuthorSnippet) -> Entry:
    return Entry(keys.author_key(user_id), keys.cache_tag(user_id), encode(author), ENTRY_SECONDS)


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


def tags_entry(tags: list[str]) -> Entry:
    return Entry(keys.TAGS_KEY, keys.TAGGED, encode(tags), LIST_SECONDS)


def comments_entry(article_id: int, comments: Sequence[CachedComment] | None) -> Entry:
    """Two values of msgpack, one after the other: the authors' ids, which a script reads, and the comments.

    ``comments`` is None without the article.
    """
    key, tag = keys.comments_key(article_id), keys.cache_tag(article_id)
    if comments is None:
        return _absent(key, tag, Absent.NOT_FOUND)
    authors = list(dict.fromkeys(comment.author_id for comment in comments))
    return _large(key, tag, encode(authors) + encode(comments))


def _large(key: bytes, tag: bytes, value: bytes) -> Entry:
    """An entry for a value that may be too large to be kept."""
    if len(value) > LARGEST_VALUE:
        return _absent(key, tag, Absent.TOO_LARGE)
    return Entry(key, tag, value, ENTRY_SECONDS)


def _absent(key: bytes, tag: bytes, why: Absent) -> Entry:
    return Entry(key, tag, why.value, NEGATIVE_SECONDS)


# From rows -------------------------------------------------------------------------------------------------


def summary_of(row: ArticleRow | ListRow) -> Summary:
    return Summary(
        row.author_id,
        row.slug,
        row.title,
        row.description,
        row.tag_list,
        row.created_at,
        row.updated_at,
        row.favorites_count,
        row.cover_digest,
        row.cover_state,
    )


def author_of(row: ArticleRow | ListRow | PersonRow) -> AuthorSnippet:
    return AuthorSnippet(row.username, row.bio, row.image)


def comment_of(row: CommentRow) -> CachedComment:
    return CachedComment(row.id, row.body, row.created_at, row.updated_at, row.author_id)
