"""Changes that are made in cached values, instead of deleting them: a step of ``cache_scripts.INVALIDATE`` each.

A step changes nothing where its value is not cached, and nothing that was changed already: whoever set the value may
have read the change before it was told of it. Where a step can't know that, it deletes the value.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from conduit.adapters import cache_keys as keys
from conduit.adapters.cache_entries import counted, encode
from conduit.events import CommentAdded
from conduit.fragments import comment_fragment, count_fragment
from conduit.rows import CommentRow


class Step(NamedTuple):
    """``what`` is the name of a function in the script, which gets the key and the arguments."""

    what: str
    key: bytes
    arguments: tuple[Any, ...]


class Change(NamedTuple):
    """The steps of one event about a row, and its position among the changes of the row's cache tag."""

    cache_tag: bytes
    position: int
    steps: tuple[Step, ...] = ()

    def encoded(self) -> bytes:
        steps = [(what, key.decode(), *arguments) for what, key, arguments in self.steps]
        return encode((self.cache_tag.decode(), self.position, steps))


def list_gains(key: bytes, article_id: int, author_id: int) -> Step:
    return Step("gain", key, (article_id, author_id))


def list_loses(key: bytes, article_id: int) -> Step:
    return Step("lose", key, (article_id,))


def is_favorite_of(article_id: int, favorites_count: int) -> Step:
    return Step("count", keys.summary_key(article_id), (counted(count_fragment(favorites_count)).decode(),))


def viewer_marks(user_id: int, article_id: int) -> Step:
    return Step("mark", keys.marks_key(user_id), (article_id,))


def viewer_unmarks(user_id: int, article_id: int) -> Step:
    return Step("unmark", keys.marks_key(user_id), (article_id,))


def has_comment(event: CommentAdded) -> Step:
    row = CommentRow(event.comment_id, event.body, event.created_at, event.updated_at, event.author_id)
    comment = comment_fragment(row)
    return Step("comment", keys.comments_key(event.article_id), (comment.id, comment.author_id, comment.head.decode()))


def uses_tags(tags: Iterable[str]) -> Step:
    return Step("use", keys.TAGS_KEY, (list(tags),))
