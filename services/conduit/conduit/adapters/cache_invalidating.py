"""What an event outdates or changes in the cache: the listener that tells it after the commit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from conduit.adapters import cache_keys as cache
from conduit.adapters.cache_changes import (
    Change,
    Step,
    has_comment,
    is_favorite_of,
    list_gains,
    list_loses,
    uses_tags,
    viewer_marks,
    viewer_unmarks,
)
from conduit.events import (
    ArticleChanged,
    ArticleDeleted,
    ArticleFavorited,
    ArticlePublished,
    AuthorFollowed,
    CommentAdded,
    CommentDeleted,
    Event,
    UserChanged,
    UsernameReleased,
)
from conduit.ports import Listener

if TYPE_CHECKING:
    from conduit.adapters.cache_redis import RedisCache


def invalidating(redis_cache: "RedisCache") -> Listener:
    """A listener that tells the cache of committed events, in one call for all of them."""

    def listener(events: Sequence[Event]) -> None:
        tags: set[bytes] = set()
        keys: set[bytes] = set()
        changes = [change for event in events if (change := _collect(event, tags, keys)) is not None]
        if tags:
            # They are of one transaction.
            redis_cache.invalidate(tags, keys, changes, events[0].committed)

    return listener


def _collect(event: Event, tags: set[bytes], keys: set[bytes]) -> Change | None:
    """Add the cache tags and keys that this event outdates. Returns what it changes."""
    change: Change | None = None
    match event:
        case UserChanged(user_id, username, former):
            names = [name for name in (username, former) if name is not None] if username != former else []
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
            steps = [list_gains(key, article_id, author_id) for key in _lists(author_id, article_tags)]
            change = _change(event, article_id, *steps, uses_tags(article_tags))
        case ArticleChanged(article_id, _, article_tags):
            tags.update([cache.cache_tag(article_id), *_tagged(article_tags)])
            keys.update([cache.summary_key(article_id), cache.body_key(article_id)])  # its comments stay
            keys.update(map(cache.tag_list_key, article_tags))
            if article_tags:
                keys.add(cache.TAGS_KEY)
            change = _change(event, article_id)
        case ArticleDeleted(article_id, author_id, article_tags):
            tags.update([cache.cache_tag(article_id), cache.cache_tag(author_id)])
            tags.update([cache.PUBLISHED, cache.DELETED, *_tagged(article_tags)])
            keys.update(cache.article_keys(article_id))
            if article_tags:
                keys.add(cache.TAGS_KEY)
            change = _change(
                event, article_id, *(list_loses(key, article_id) for key in _lists(author_id, article_tags))
            )
        case ArticleFavorited(article_id, author_id, user_id, favorited, count):
            tags.update([cache.cache_tag(article_id), cache.cache_tag(user_id)])
            favorites = cache.favorites_key(user_id)
            change = _change(
                event,
                article_id,
                is_favorite_of(article_id, count),
                list_gains(favorites, article_id, author_id) if favorited else list_loses(favorites, article_id),
                viewer_marks(user_id, article_id) if favorited else viewer_unmarks(user_id, article_id),
            )
        case CommentAdded(article_id):
            tags.add(cache.cache_tag(article_id))
            change = _change(event, article_id, has_comment(event))
        case CommentDeleted(article_id):
            tags.add(cache.cache_tag(article_id))
            keys.add(cache.comments_key(article_id))
            change = _change(event, article_id)
        case AuthorFollowed(follower_id, _, _):
            tags.add(cache.cache_tag(follower_id))
            keys.add(cache.marks_key(follower_id))
    return change


def _change(event: Event, article_id: int, *steps: Step) -> Change:
    return Change(cache.cache_tag(article_id), event.position, steps)


def _lists(author_id: int, article_tags: Sequence[str]) -> list[bytes]:
    """The keys of the lists in which an article stands by itself; fans' lists are apart."""
    return [cache.HOME_KEY, cache.author_list_key(author_id), *map(cache.tag_list_key, article_tags)]


def _tagged(article_tags: Sequence[str]) -> list[bytes]:
    """The cache tags of the lists by the tags that an article got or lost, and of the tags in use."""
    return [cache.TAGGED, *map(cache.cache_tag_of_tag, article_tags)] if article_tags else []
