"""Whether a look at the cache found all that an answer takes.

Each ``whole_…`` gives what was looked for in a tuple of one, as it may be None itself; and None where something is
missing.
"""

from typing import Literal

from conduit.adapters import cache_records as cached
from conduit.adapters.cache_records import (
    ArticleLook,
    Card,
    CommentsLook,
    PageLook,
    ProfileLook,
    Summary,
    TagsLook,
)


class ListPage:
    """A page of a list put together: ids in their order, and what is known of each."""

    def __init__(self, count: int, ids: list[int], summaries: dict[int, Summary], cards: dict[int, Card]) -> None:
        self.count = count
        self.ids = ids
        self.summaries = summaries
        self.cards = cards


WholeArticle = tuple[Summary, str | bool, Card]
WholeComments = tuple[list[cached.Comment], dict[int, Card]]
TooLarge = Literal[True]


def whole_article(look: ArticleLook) -> tuple[WholeArticle | None] | None:
    if look.summary is cached.UNKNOWN:
        return (None,)
    if isinstance(look.summary, Summary) and look.body is not None and look.card is not None:
        return ((look.summary, look.body, look.card),)
    return None


def whole_list(look: PageLook) -> tuple[ListPage] | None:
    if look.owner is cached.UNKNOWN:
        return (ListPage(0, [], {}, {}),)
    if look.miss.leads is not None:
        return None
    found = known(look)
    return (found,) if len(found.summaries) == len(found.ids) else None


def known(look: PageLook) -> ListPage:
    ids, authors = look.ids or [], look.authors or []
    return ListPage(
        look.count or 0,
        ids,
        {key: value for key, value in zip(ids, look.summaries, strict=True) if isinstance(value, Summary)},
        {key: value for key, value in zip(authors, look.cards, strict=True) if value is not None},
    )


def whole_comments(look: CommentsLook) -> tuple[WholeComments | TooLarge | None] | None:
    if look.authors is cached.UNKNOWN:
        return (None,)
    if look.authors is cached.TOO_LARGE:
        return (cached.TOO_LARGE,)
    if look.miss.leads is not None or look.comments is None or not isinstance(look.authors, list):
        return None
    return ((look.comments, dict(zip(look.authors, look.cards, strict=True))),)  # type: ignore[arg-type]


def whole_profile(look: ProfileLook) -> tuple[tuple[int, Card] | None] | None:
    if look.owner is cached.UNKNOWN:
        return (None,)
    return None if look.owner is None or look.card is None else ((look.owner, look.card),)


def whole_tags(look: TagsLook) -> tuple[list[str]] | None:
    return None if look.tags is None else (look.tags,)
