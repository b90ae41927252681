"""Fragments of JSON: what every viewer is shown is encoded once, and joined with what is one viewer's own.

A cache that keeps fragments neither decodes nor encodes them on a hit. Joined, they are byte for byte what msgspec
makes of the structs in ``schemas.py``. An article:

    head           {"slug":…,"updatedAt":…,"favorited":
                   false,"favoritesCount":
    count          3
                   ,"author":
    author         {"username":…,"bio":…,"image":…,"following":
                   false}
    tail           ,"cover":…
    body           ,"body":…
                   }

The count is a fragment of its own, because it changes alone. A list has no bodies.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from conduit.rows import ArticleRow, CommentRow, ListRow, PersonFields
from conduit.schemas import ArticleSummary, Comment, Cover, Encoded, Profile

_encode = msgspec.json.Encoder().encode

# Where other fragments belong. No JSON has this byte: in a text it is escaped.
_GAP = b"\0"
_LEFT_OUT: Any = Encoded(_GAP)

# By whether it is so.
_FAVORITED = b'false,"favoritesCount":', b'true,"favoritesCount":'
_FOLLOWING = b"false}", b"true}"


class ArticleFragments(Struct, array_like=True, frozen=True, gc=False):
    """An article without its body. The author's fragment belongs between head and tail."""

    author_id: int
    head: bytes
    tail: bytes


class CommentFragment(Struct, array_like=True, frozen=True, gc=False):
    """A comment. The author's fragment belongs after its head."""

    id: int
    author_id: int
    head: bytes


def article_fragments(row: ArticleRow | ListRow, cover: Cover | None) -> ArticleFragments:
    summary = ArticleSummary(
        row.slug,
        row.title,
        row.description,
        row.tag_list,
        row.created_at,
        row.updated_at,
        favorited=_LEFT_OUT,
        favorites_count=_LEFT_OUT,
        author=_LEFT_OUT,
        cover=cover,
    )
    head, _, _, tail = _encode(summary).split(_GAP)
    return ArticleFragments(row.author_id, head, tail[:-1])  # a body comes before the brace


def count_fragment(favorites_count: int) -> bytes:
    return b"%d" % favorites_count


def body_fragment(body: str) -> bytes:
    return b',"body":' + _encode(body)


def author_fragment(person: PersonFields) -> bytes:
    profile = Profile(person.username, person.bio, person.image, following=_LEFT_OUT)
    return _encode(profile).partition(_GAP)[0]


def comment_fragment(row: CommentRow) -> CommentFragment:
    comment = Comment(row.id, row.created_at, row.updated_at, row.body, author=_LEFT_OUT)
    return CommentFragment(row.id, row.author_id, _encode(comment).partition(_GAP)[0])


def tags_fragment(tags: list[str]) -> Encoded:
    """A whole list of tags, which is the same for every viewer."""
    return Encoded(_encode(tags))


# Joined for one viewer -------------------------------------------------------------------------------------


def join_article(
    article: ArticleFragments, body: bytes, count: bytes, author: bytes, *, favorited: bool, following: bool
) -> Encoded:
    """An Article."""
    summary = join_summary(article, count, author, favorited, following)
    return Encoded(b"".join((summary[:-1], body, b"}")))


def join_summary(article: ArticleFragments, count: bytes, author: bytes, favorited: bool, following: bool) -> bytes:
    """An ArticleSummary, for ``join_list``."""
    return b"".join(
        (article.head, _FAVORITED[favorited], count, b',"author":', author, _FOLLOWING[following], article.tail, b"}")
    )


def join_comment(head: bytes, author: bytes, following: bool) -> bytes:
    """A Comment, for ``join_list``."""
    return b"".join((head, author, _FOLLOWING[following], b"}"))


def join_profile(author: bytes, following: bool) -> Encoded:
    """A Profile."""
    return Encoded(author + _FOLLOWING[following])


def join_list(items: Iterable[bytes]) -> Encoded:
    """A list of them, in order."""
    return Encoded(b"[" + b",".join(items) + b"]")
