"""What the edge has to forget, and when: the listener that is told after the caches behind it."""

from collections.abc import Sequence

from conduit.events import ArticleChanged, ArticleDeleted, Event
from conduit.ports import Edge, Listener


def purging(edge: Edge) -> Listener:
    """A listener that purges the articles whose own text changed or is gone.

    Favourites, comments, lists and profiles are not purged: they change too often to be worth a call to the edge each
    time, and are seconds old there at the most.
    """

    def listener(events: Sequence[Event]) -> None:
        changed = [event.article_id for event in events if isinstance(event, ArticleChanged | ArticleDeleted)]
        if changed:
            edge.purge(list(dict.fromkeys(changed)))

    return listener
