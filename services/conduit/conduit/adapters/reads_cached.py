"""Reads that ask the cache first, and what stands behind it for what is not there.

Cached is what is everybody's: articles, the first pages of lists with one filter at most, the newest comments,
profiles, tags. A viewer's own favourites and follows are one query a server, and nobody in particular needs none. What
is missed is asked for by one at a time (``cache_redis``): the others wait for it, briefly, and look again. They do not
take over what the one has read: it may have begun before a change that they have been told of.

Without the cache everything comes from behind it, as if there were none.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Signal
from typing import Protocol, TypeVar

from prometheus_client import Counter

from conduit import metrics
from conduit.adapters import cache_records as cached
from conduit.adapters.cache_records import (
    Card,
    CommentsLook,
    Miss,
    PageLook,
    Part,
    Record,
    Seen,
    Summary,
    TagsLook,
)
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_wholes import (
    ListPage,
    TooLarge,
    WholeArticle,
    WholeComments,
    known,
    whole_article,
    whole_comments,
    whole_list,
    whole_profile,
    whole_tags,
)
from conduit.errors import UnavailableError
from conduit.ids import MAX_ID
from conduit.ports import Media, Page, Reads
from conduit.rows import (
    ArticleRow,
    CommentRow,
    ListRow,
    PersonRow,
    article_from,
    cover_from,
    profile_from,
    summary_from,
)
from conduit.schemas import Article, ArticleSummary, Comment, Profile

# Lists are cached as deep as that, and comments as many: what is read of nearly all.
DEPTH = 100
NEWEST_COMMENTS = Page(DEPTH, 0, MAX_ID + 1)
# How long one waits for another to ask, before asking too. Ten threads are all that a box has.
PATIENCE_SECONDS = 0.8
# Pauses between looks for what another box asks, doubled each time: on a busy box a look costs the CPU that
# answers need.
LOOK_AGAIN_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.08



class _Looked(Protocol):
    @property
    def miss(self) -> Miss: ...


Look = TypeVar("Look", bound=_Looked)
Value = TypeVar("Value")


class SharedReads(Reads, Protocol):
    """What CachedReads asks of the Reads behind it beside the port: the shared part of an answer with the ids of whose
    it is, and a viewer's own part. Rows are those of ``rows``."""

    def shared_article(self, article_id: int) -> ArticleRow | None: ...

    def shared_articles(
        self, page: Page, *, tag: str | None = None, author: str | None = None, favorited: str | None = None
    ) -> tuple[list[ListRow], int, int | None]: ...

    def summaries(self, article_ids: Iterable[int]) -> list[ListRow]: ...

    def shared_comments(self, article_id: int, page: Page) -> list[CommentRow] | None: ...

    def people(self, user_ids: Iterable[int]) -> list[PersonRow]: ...

    def shared_profile(self, username: str) -> PersonRow | None: ...

    def own_marks(
        self, viewer: int, article_ids: Iterable[int], authors: Iterable[int]
    ) -> tuple[set[int], set[int]]: ...


class CachedReads:
    """Any reads, behind a cache."""

    def __init__(self, reads: SharedReads, cache: RedisCache, media: Media) -> None:
        self._reads = reads
        self._cache = cache
        self._media = media
        self._flights: dict[bytes, Signal] = {}

    # Articles -----------------------------------------------------------------------------------------------

    def article(self, article_id: int, viewer: int | None) -> Article | None:
        try:
            found = self._through(
                "article",
                lambda: self._cache.article(article_id),
                whole_article,
                lambda _look: self._ask_article(article_id),
            )
        except _AwayError:
            return self._reads.article(article_id, viewer)
        if found is None:
            return None
        summary, body, card = found
        if isinstance(body, bool):  # too large
            return self._reads.article(article_id, viewer)
        author = summary.author_id
        favorites, followed = self._own(viewer, (article_id,), (author,))
        cover = cover_from(self._media, summary.cover_digest, summary.cover_state)
        return article_from(
            summary, body, card, cover, favorited=article_id in favorites, following=author in followed
        )

    def _ask_article(self, article_id: int) -> tuple[WholeArticle | None, list[Record]]:
        row = self._reads.shared_article(article_id)
        if row is None:
            return None, [cached.no_article_record(article_id)]
        summary, card = _summary(row), _card(row)
        return (summary, row.body, card), [
            cached.summary_record(article_id, summary),
            cached.body_record(article_id, row.body),
            cached.card_record(row.author_id, card),
        ]

    # Lists --------------------------------------------------------------------------------------------------

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[ArticleSummary], int]:
        filters = {"tag": tag, "author": author, "favorited": favorited}
        given = {kind: name for kind, name in filters.items() if name is not None}
        if len(given) > 1 or page.offset + page.limit > DEPTH or page.before <= MAX_ID:
            _counter("list", "not cached").inc()
            return self._reads.articles(page, viewer, tag=tag, author=author, favorited=favorited)
        part = Part(*next(iter(given.items()), ("home", "")), page.limit, page.offset)
        try:
            found = self._through(
                "list", lambda: self._cache.page(part), whole_list, lambda look: self._ask_list(part, page, look)
            )
        except _AwayError:
            return self._reads.articles(page, viewer, tag=tag, author=author, favorited=favorited)
        favorites, followed = self._own(viewer, found.ids, found.cards)
        listed = [
            summary_from(
                summary,
                found.cards[summary.author_id],
                cover_from(self._media, summary.cover_digest, summary.cover_state),
                article_id in favorites,
                summary.author_id in followed,
            )
            for article_id in found.ids
            for summary in (found.summaries[article_id],)
        ]
        return listed, found.count

    def _ask_list(self, part: Part, page: Page, look: PageLook) -> tuple[ListPage, list[Record]]:
        if look.ids is not None and (mended := self._mended(look)) is not None:
            return mended
        filters = {} if part.kind == "home" else {part.kind: part.name}
        rows, count, owner = self._reads.shared_articles(page, **filters)
        found = ListPage(count, [row.id for row in rows], *_parts(rows))
        records = [*_records(rows)]
        if part.kind in ("author", "favorited"):
            records.append(cached.name_record(part.name, owner))
            if owner is None:
                return found, records
        records.append(cached.page_record(part, owner, found.ids, list(found.cards), count))
        return found, records

    def _mended(self, look: PageLook) -> tuple[ListPage, list[Record]] | None:
        """The page with what it lacks: one query a server. None where an article is gone, and so the page is old."""
        found = known(look)
        lacking = [
            article_id
            for article_id in found.ids
            if (summary := found.summaries.get(article_id)) is None or summary.author_id not in found.cards
        ]
        rows = self._reads.summaries(lacking)
        summaries, cards = _parts(rows)
        found.summaries.update(summaries)
        found.cards.update(cards)
        if len(found.summaries) < len(found.ids):
            return None
        return found, [*_records(rows)]

    def feed(self, page: Page, viewer: int) -> tuple[list[ArticleSummary], int]:
        return self._reads.feed(page, viewer)

    # Comments, profiles, tags -------------------------------------------------------------------------------

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[Comment] | None:
        if page.before <= MAX_ID:
            _counter("comments", "not cached").inc()
            return self._reads.comments(article_id, viewer, page)
        try:
            found = self._through(
                "comments",
                lambda: self._cache.comments(article_id),
                whole_comments,
                lambda look: self._ask_comments(article_id, look),
            )
        except _AwayError:
            return self._reads.comments(article_id, viewer, page)
        if found is None:
            return None
        if found is cached.TOO_LARGE:
            return self._reads.comments(article_id, viewer, page)
        comments, cards = found
        shown = [comment for comment in comments if comment.author_id in cards][: page.limit]
        _, followed = self._own(viewer, (), {comment.author_id for comment in shown})
        return [
            Comment(
                comment.id,
                comment.created_at,
                comment.updated_at,
                comment.body,
                profile_from(cards[comment.author_id], comment.author_id in followed),
            )
            for comment in shown
        ]

    def _ask_comments(
        self, article_id: int, look: CommentsLook
    ) -> tuple[WholeComments | TooLarge | None, list[Record]]:
        if look.comments is not None and isinstance(look.authors, list):
            comments = look.comments
            cards = {who: card for who, card in zip(look.authors, look.cards, strict=True) if card is not None}
            records = []
        else:
            rows = self._reads.shared_comments(article_id, NEWEST_COMMENTS)
            if rows is None:
                return None, [cached.comments_record(article_id, None)]
            comments = [cached.Comment(*row) for row in rows]
            cards = {}
            records = [cached.comments_record(article_id, comments)]
        people = self._reads.people({comment.author_id for comment in comments} - cards.keys())
        asked = {person.id: _card(person) for person in people}
        records += [cached.card_record(who, card) for who, card in asked.items()]
        return (comments, cards | asked), records

    def profile(self, username: str, viewer: int | None) -> Profile | None:
        try:
            found = self._through(
                "profile",
                lambda: self._cache.profile(username),
                whole_profile,
                lambda _look: self._ask_profile(username),
            )
        except _AwayError:
            return self._reads.profile(username, viewer)
        if found is None:
            return None
        user_id, card = found
        _, followed = self._own(viewer, (), (user_id,))
        return profile_from(card, user_id in followed)

    def _ask_profile(self, username: str) -> tuple[tuple[int, Card] | None, list[Record]]:
        row = self._reads.shared_profile(username)
        if row is None:
            return None, [cached.name_record(username, None)]
        card = _card(row)
        return (row.id, card), [cached.name_record(username, row.id), cached.card_record(row.id, card)]

    def tags(self) -> list[str]:
        def ask(_look: TagsLook) -> tuple[list[str], list[Record]]:
            tags = self._reads.tags()
            return tags, [cached.tags_record(tags)]

        try:
            return self._through("tags", self._cache.tags, whole_tags, ask)
        except _AwayError:
            return self._reads.tags()

    def _own(
        self, viewer: int | None, article_ids: Sequence[int], authors: Iterable[int]
    ) -> tuple[set[int], set[int]]:
        if viewer is None:
            return set(), set()
        return self._reads.own_marks(viewer, article_ids, authors)

    # Through the cache --------------------------------------------------------------------------------------

    def _through(
        self,
        what: str,
        look: Callable[[], tuple[Look, Seen]],
        whole: Callable[[Look], tuple[Value] | None],
        ask: Callable[[Look], tuple[Value, list[Record]]],
    ) -> Value:
        """What the cache has, or what is asked for in its place and kept there. Raises _AwayError without the cache."""
        until = time.monotonic() + PATIENCE_SECONDS
        pause = LOOK_AGAIN_SECONDS
        seen: Seen | None = None
        while True:
            try:
                found, seen = look()
            except UnavailableError as error:
                # One late look of one who waits says that Redis is busy, and that is when the database needs sparing.
                if seen is None or not self._cache.is_there or time.monotonic() >= until:
                    _counter(what, "away").inc()
                    raise _AwayError from error
            else:
                if (value := whole(found)) is not None:
                    _counter(what, "hit").inc()
                    return value[0]
                if found.miss.leads or time.monotonic() >= until:
                    break
            self._wait(seen.name, until, pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        _counter(what, "miss").inc()
        records: list[Record] = []
        with self._leading(seen.name):
            try:
                asked, records = ask(found)
            finally:
                # Also with nothing to keep: whoever waits is not to wait for it.
                self._cache.fill(seen, records)
        return asked

    @contextmanager
    def _leading(self, name: bytes) -> Iterator[None]:
        """Wakes those of this process who wait."""
        signal = self._flights[name] = Signal()
        try:
            yield
        finally:
            if self._flights.get(name) is signal:
                self._flights.pop(name, None)
            signal.set()

    def _wait(self, name: bytes, until: float, pause: float) -> None:
        """Until the one who asks is done or, where that is another box, for long enough to look again."""
        signal = self._flights.get(name)
        if signal is None:
            time.sleep(pause)
        else:
            signal.wait(until - time.monotonic())


class _AwayError(Exception):
    """The cache does not answer."""


@functools.cache
def _counter(what: str, result: str) -> Counter:
    """A read's counter; looking it up by its labels takes longer than counting."""
    return metrics.CACHE_READS.labels(what, result)


# From rows, and to what the API shows ------------------------------------------------------------------------


def _summary(row: ArticleRow | ListRow) -> Summary:
    return Summary(
        row.author_id,
        row.slug,
        row.title,
        row.description,
        row.tag_list,
        row.created_at,
        row.updated_at,
        row.favorites_count,
        row.cover_digest,
        row.cover_state,
    )


def _card(row: ArticleRow | ListRow | PersonRow) -> Card:
    return Card(row.username, row.bio, row.image)


def _parts(rows: Sequence[ListRow]) -> tuple[dict[int, Summary], dict[int, Card]]:
    """What the rows of a list say of articles and of authors, by their ids."""
    return {row.id: _summary(row) for row in rows}, {row.author_id: _card(row) for row in rows}


def _records(rows: Sequence[ListRow]) -> Iterator[Record]:
    summaries, cards = _parts(rows)
    for article_id, summary in summaries.items():
        yield cached.summary_record(article_id, summary)
    for user_id, card in cards.items():
        yield cached.card_record(user_id, card)
