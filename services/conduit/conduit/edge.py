"""Which events purge the edge cache."""

from collections.abc import Sequence

from conduit.events import ArticleChanged, ArticleDeleted, CommentDeleted, Event
from conduit.ports import Edge, Listener


def purging(edge: Edge) -> Listener:
    """A listener that purges articles that were changed or deleted, or lost a comment: what is taken away is gone.

    Favourites, new comments, lists and profiles are not purged: they change too often for a call to the edge each
    time, and expire there after a few seconds.
    """

    def listener(events: Sequence[Event]) -> None:
        changed = [
            event.article_id
            for event in events
            if isinstance(event, ArticleChanged | ArticleDeleted | CommentDeleted)
        ]
        if changed:
            edge.purge(list(dict.fromkeys(changed)))

    return listener
