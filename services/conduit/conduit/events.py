"""Domain events: recorded in the transaction that makes them true, and sent to the listeners after its commit."""

from typing import NamedTuple

from msgspec import Struct


class Committed(NamedTuple):
    """Where a transaction's end is in its server's log, at most (``adapters/positions.py``)."""

    server: str
    position: str


class Event(Struct, frozen=True, tag=True, kw_only=True):
    """A change that is true once its transaction is committed. Ids are those of ``ids.py``.

    ``position`` orders the changes of one row (``statements.Changed``). With 0 nobody knows the order, or whether the
    change was committed at all, because the database's answer was lost. ``committed`` is for readers of replicas, and
    None for a server without any.
    """

    position: int = 0
    committed: Committed | None = None


class UserChanged(Event, frozen=True):
    """A user is new, or the profile shows something else."""

    user_id: int
    username: str
    former_username: str | None = None


class UsernameReleased(Event, frozen=True):
    """A username no longer leads to the user who gave it up, or for whom it was only reserved."""

    username: str


class ArticlePublished(Event, frozen=True):
    article_id: int
    author_id: int
    tags: tuple[str, ...] = ()


class ArticleChanged(Event, frozen=True):
    """``tags`` are those that were added or removed."""

    article_id: int
    author_id: int
    tags: tuple[str, ...] = ()


class ArticleDeleted(Event, frozen=True):
    article_id: int
    author_id: int
    tags: tuple[str, ...] = ()


class ArticleFavorited(Event, frozen=True):
    """``favorites_count`` is the article's since then."""

    article_id: int
    author_id: int
    user_id: int
    favorited: bool
    favorites_count: int


class CommentAdded(Event, frozen=True):
    article_id: int
    comment_id: int
    author_id: int
    body: str
    created_at: str
    updated_at: str


class CommentDeleted(Event, frozen=True):
    article_id: int
    comment_id: int


class AuthorFollowed(Event, frozen=True):
    follower_id: int
    followee_id: int
    following: bool
