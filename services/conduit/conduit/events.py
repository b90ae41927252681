"""Domain events: recorded in the transaction that makes them true, and sent to the listeners after its commit."""

from msgspec import Struct


class Event(Struct, frozen=True, tag=True):
    """A change that is true once its transaction is committed. Ids are those of ``ids.py``."""


class UserChanged(Event, frozen=True):
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
    article_id: int
    user_id: int
    favorited: bool


class CommentsChanged(Event, frozen=True):
    """``deleted`` is whether a comment was taken away, and not added."""

    article_id: int
    deleted: bool = False


class AuthorFollowed(Event, frozen=True):
    follower_id: int
    followee_id: int
    following: bool
