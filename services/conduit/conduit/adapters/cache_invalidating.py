"""Which records of the cache an event makes old, and telling it so after the commit."""

from collections.abc import Sequence

from conduit.adapters import cache_records as cached
from conduit.adapters.cache_redis import RedisCache
from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    CommentsChanged,
    Event,
    UserChanged,
)
from conduit.ports import Listener


def invalidating(cache: RedisCache) -> Listener:
    """A listener that has the cache forget what committed events made old, all of them in one call."""

    def listener(events: Sequence[Event]) -> None:
        slots: set[bytes] = set()
        keys: set[bytes] = set()
        for event in events:
            _collect(event, slots, keys)
        if slots:
            cache.invalidate(slots, keys)

    return listener


def _collect(event: Event, slots: set[bytes], keys: set[bytes]) -> None:
    match event:
        case UserChanged(user_id, username, former):
            names = [name for name in (username, former) if name is not None]
            slots.update([cached.slot_of(user_id), *map(cached.slot_of_name, names)])
            keys.update(cached.user_keys(user_id, names))
        case ArticlePublished(article_id, author_id, tags):
            # Somebody may have asked for its id before it was there.
            slots.update([cached.slot_of(article_id), cached.slot_of(author_id), cached.PUBLISHED])
            slots.update(_tagged(tags))
            keys.update(cached.article_keys(article_id))
        case ArticleChanged(article_id, _, tags):
            slots.update([cached.slot_of(article_id), *_tagged(tags)])
            keys.update(cached.article_keys(article_id))
        case ArticleDeleted(article_id, author_id, tags):
            slots.update([cached.slot_of(article_id), cached.slot_of(author_id)])
            slots.update([cached.PUBLISHED, cached.DELETED, *_tagged(tags)])
            keys.update(cached.article_keys(article_id))
        case ArticleFavorited(article_id, user_id, _):
            slots.update([cached.slot_of(article_id), cached.slot_of(user_id)])
            keys.add(cached.summary_key(article_id))
        case CommentsChanged(article_id):
            slots.add(cached.slot_of(article_id))
            keys.add(cached.comments_key(article_id))
        case _:
            pass  # whom a viewer follows is never cached


def _tagged(tags: Sequence[str]) -> list[bytes]:
    """The slots of tags that an article got or lost: of their lists, and of the tags in use."""
    return [cached.TAGGED, *map(cached.slot_of_tag, tags)] if tags else []
