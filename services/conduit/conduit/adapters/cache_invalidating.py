"""Which entries of the cache an event outdates: the listener that invalidates them after the commit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from conduit.adapters import cache_keys as cache
from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    CommentsChanged,
    Event,
    UserChanged,
    UsernameReleased,
)
from conduit.ports import Listener

if TYPE_CHECKING:
    from conduit.adapters.cache_redis import RedisCache


def invalidating(redis_cache: "RedisCache") -> Listener:
    """A listener that invalidates what committed events outdate, in one call for all of them."""

    def listener(events: Sequence[Event]) -> None:
        tags: set[bytes] = set()
        keys: set[bytes] = set()
        for event in events:
            _collect(event, tags, keys)
        if tags:
            redis_cache.invalidate(tags, keys)

    return listener


def _collect(event: Event, tags: set[bytes], keys: set[bytes]) -> None:
    """Add the cache tags and keys that this event outdates."""
    match event:
        case UserChanged(user_id, username, former):
            names = [name for name in (username, former) if name is not None]
            tags.update([cache.cache_tag(user_id), *map(cache.cache_tag_of_name, names)])
            keys.update(cache.user_keys(user_id, names))
        case UsernameReleased(username):
            # A read between the user's change and the release may have cached whose name it was.
            tags.add(cache.cache_tag_of_name(username))
            keys.add(cache.name_key(username))
        case ArticlePublished(article_id, author_id, article_tags):
            # A read of its id before it existed may have cached that it does not.
            tags.update([cache.cache_tag(article_id), cache.cache_tag(author_id), cache.PUBLISHED])
            tags.update(_tagged(article_tags))
            keys.update(cache.article_keys(article_id))
        case ArticleChanged(article_id, _, article_tags):
            tags.update([cache.cache_tag(article_id), *_tagged(article_tags)])
            keys.update(cache.article_keys(article_id))
        case ArticleDeleted(article_id, author_id, article_tags):
            tags.update([cache.cache_tag(article_id), cache.cache_tag(author_id)])
            tags.update([cache.PUBLISHED, cache.DELETED, *_tagged(article_tags)])
            keys.update(cache.article_keys(article_id))
        case ArticleFavorited(article_id, user_id, _):
            tags.update([cache.cache_tag(article_id), cache.cache_tag(user_id)])
            keys.add(cache.summary_key(article_id))
        case CommentsChanged(article_id):
            tags.add(cache.cache_tag(article_id))
            keys.add(cache.comments_key(article_id))
        case _:
            pass  # follows are never cached


def _tagged(article_tags: Sequence[str]) -> list[bytes]:
    """The cache tags of the lists by the tags that an article got or lost, and of the tags in use."""
    return [cache.TAGGED, *map(cache.cache_tag_of_tag, article_tags)] if article_tags else []
