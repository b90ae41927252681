"""Reads that ask the cache first, and the reads behind it for what is missing.

Cached is what is the same for everybody: articles, the first pages of lists with at most one filter, the newest
comments, profiles, tags. A signed-in viewer's own favourites and follows are one more get. Without the cache every read
goes to the reads behind it. So does a read of several servers of which one does not answer: what is kept is whole.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from conduit import sessions
from conduit.adapters import cache_entries as entries
from conduit.adapters import cache_keys as keys
from conduit.adapters.cache_entries import Absent, CachedArticle, Entry
from conduit.adapters.cache_keys import DEPTH, ListKey
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.cache_results import (
    ArticleParts,
    Comments,
    FoundArticle,
    FoundComments,
    FoundList,
    FoundMarks,
    FoundProfile,
    FoundTags,
    ListPage,
    Own,
    Person,
    ShownComment,
)
from conduit.adapters.read_through import ReadThrough, count_read
from conduit.adapters.scatter_gather import SomeMissingError
from conduit.errors import UnavailableError
from conduit.fragments import (
    article_fragments,
    author_fragment,
    body_fragment,
    comment_fragment,
    count_fragment,
    join_article,
    join_comment,
    join_list,
    join_profile,
    join_summary,
    tags_fragment,
)
from conduit.ids import MAX_ID
from conduit.ports import Media, Page, Reads
from conduit.rows import ArticleRow, CommentRow, ListRow, PersonRow, cover_from
from conduit.schemas import Article, ArticleSummary, Comment, Encoded, Profile

NEWEST = Page(DEPTH, 0, MAX_ID + 1)
NOTHING_OWN = Own(set(), set())


class SharedReads(Reads, Protocol):
    """The reads behind the cache: those of the port, and the parts that CachedReads composes.

    ``shared_…`` is what is the same for every viewer; of a list also its total, and its owner's id, where it is an
    author's or a fan's. ``all_marks`` and ``own_marks`` are one viewer's.
    """

    def shared_article(self, article_id: int) -> ArticleRow | None: ...

    def shared_articles(
        self, page: Page, *, tag: str | None = None, author: str | None = None, favorited: str | None = None
    ) -> tuple[list[ListRow], int, int | None]: ...

    def summaries(self, article_ids: Iterable[int]) -> list[ListRow]: ...

    def shared_comments(self, article_id: int, page: Page) -> list[CommentRow] | None: ...

    def people(self, user_ids: Iterable[int]) -> list[PersonRow]: ...

    def shared_profile(self, username: str) -> PersonRow | None: ...

    def shared_tags(self) -> list[str]: ...

    def all_marks(self, viewer: int, most: int) -> tuple[set[int], set[int]] | None: ...

    def own_marks(
        self, viewer: int, article_ids: Iterable[int], authors: Iterable[int]
    ) -> tuple[set[int], set[int]]: ...


class CachedReads:
    """Any reads, behind a cache."""

    def __init__(self, reads: SharedReads, cache: RedisCache, media: Media) -> None:
        self._reads = reads
        self._cache = cache
        self._media = media
        self._through = ReadThrough(cache)

    # Articles -----------------------------------------------------------------------------------------------

    def article(self, article_id: int, viewer: int | None) -> Article | Encoded | None:
        def fetch(_found: FoundArticle | None) -> tuple[ArticleParts | None, list[Entry]]:
            row = self._reads.shared_article(article_id)
            if row is None:
                return None, [entries.no_article_entry(article_id)]
            shown, body, author = self._shown(row), body_fragment(row.body), author_fragment(row)
            return ArticleParts(shown, body, author), entries.article_entries(article_id, shown, body, author)

        get = partial(self._cache.get_article, article_id)
        parts = self._through.read("article", keys.summary_key(article_id), get, FoundArticle.value, fetch)
        if parts is None:
            return None
        (count, article), body, author = parts
        if isinstance(body, Absent):  # too large to be cached
            return self._past_the_cache().article(article_id, viewer)
        own = self._own(viewer, (article_id,), (article.author_id,))
        favorited, following = article_id in own.favorites, article.author_id in own.followed
        return join_article(article, body, count, author, favorited=favorited, following=following)

    def _shown(self, row: ArticleRow | ListRow) -> CachedArticle:
        cover = cover_from(self._media, row.cover_digest, row.cover_state)
        return CachedArticle(count_fragment(row.favorites_count), article_fragments(row, cover))

    # Lists --------------------------------------------------------------------------------------------------

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[ArticleSummary] | Encoded, int]:
        filters = {"tag": tag, "author": author, "favorited": favorited}
        given = {kind: name for kind, name in filters.items() if name is not None}
        if len(given) > 1 or page.offset + page.limit > DEPTH or page.before <= MAX_ID:
            count_read("list", "not cached")
            return self._past_the_cache().articles(page, viewer, tag=tag, author=author, favorited=favorited)
        key = ListKey(*next(iter(given.items()), ("home", "")), page.limit, page.offset)
        try:
            found = self._through.read(
                "list",
                keys.page_key(key),
                partial(self._cache.get_list, key),
                FoundList.value,
                lambda found: self._complete_list(found) or self._fetch_list(key),
            )
        except SomeMissingError:
            return self._past_the_cache().articles(page, viewer, tag=tag, author=author, favorited=favorited)
        own = self._own(viewer, found.ids, list(found.authors))
        listed = (
            join_summary(
                article,
                count,
                found.authors[article.author_id],
                article_id in own.favorites,
                article.author_id in own.followed,
            )
            for article_id in found.ids
            for count, article in (found.articles[article_id],)
        )
        return join_list(listed), found.total

    def _complete_list(self, found: FoundList | None) -> tuple[ListPage, list[Entry]] | None:
        """A page whose ids were found, with the parts that it lacks: one query a server.

        None without a page, or where one of its articles is gone: then the page itself is outdated.
        """
        if found is None or found.total is None:
            return None
        page = found.value()
        rows = self._reads.summaries(page.incomplete())
        complete, added = self._add(page, rows)
        return None if complete.incomplete() else (complete, added)

    def _fetch_list(self, key: ListKey) -> tuple[ListPage, list[Entry]]:
        """The page, and entries for its articles and for the whole list."""
        filters = {} if key.kind == "home" else {key.kind: key.name}
        listed, total, owner = self._reads.shared_articles(NEWEST, **filters)
        rows = listed[key.offset : key.offset + key.limit]
        fetched, found = self._add(ListPage(total, [row.id for row in rows], {}, {}), rows)
        if key.kind in ("author", "favorited"):
            found.append(entries.name_entry(key.name, owner))
            if owner is None:
                return fetched, found
        ids, authors = [row.id for row in listed], [row.author_id for row in listed]
        found.append(entries.list_entry(key, owner, ids, authors, total))
        return fetched, found

    def _add(self, page: ListPage, rows: Sequence[ListRow]) -> tuple[ListPage, list[Entry]]:
        """The page with what the rows know of its articles and their authors, and the entries for both."""
        articles = {row.id: self._shown(row) for row in rows}
        authors = {row.author_id: author_fragment(row) for row in rows}
        added = [
            *(entries.summary_entry(article_id, shown) for article_id, shown in articles.items()),
            *(entries.author_entry(user_id, author) for user_id, author in authors.items()),
        ]
        return ListPage(page.total, page.ids, page.articles | articles, page.authors | authors), added

    def feed(self, page: Page, viewer: int) -> tuple[list[ArticleSummary], int]:
        return self._past_the_cache().feed(page, viewer)

    def _past_the_cache(self) -> SharedReads:
        """The reads behind it, which ask no replica that lacks what this reader may have seen in the cache."""
        if sessions.reader_may_lag():
            try:
                sessions.after(self._cache.reached())
            except UnavailableError:
                sessions.after(None)
        return self._reads

    # Comments, profiles, tags -------------------------------------------------------------------------------

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[Comment] | Encoded | None:
        if page.before <= MAX_ID:
            count_read("comments", "not cached")
            return self._past_the_cache().comments(article_id, viewer, page)
        try:
            found = self._through.read(
                "comments",
                keys.comments_key(article_id),
                partial(self._cache.get_comments, article_id),
                FoundComments.value,
                lambda found: self._fetch_comments(article_id, found),
            )
        except SomeMissingError:
            return self._past_the_cache().comments(article_id, viewer, page)
        if found is Absent.NOT_FOUND:
            return None
        if isinstance(found, Absent):  # too large to be cached
            return self._past_the_cache().comments(article_id, viewer, page)
        comments, authors = found
        shown = [comment for comment in comments if comment.author_id in authors][: page.limit]
        own = self._own(viewer, (), list({comment.author_id for comment in shown}))
        return join_list(
            join_comment(comment.head, authors[comment.author_id], comment.author_id in own.followed)
            for comment in shown
        )

    def _fetch_comments(self, article_id: int, found: FoundComments | None) -> tuple[Comments | Absent, list[Entry]]:
        """The comments with their authors: only the authors that are missing, where the comments were found."""
        set_entries: list[Entry] = []
        if found is not None and isinstance(found.comments, list):
            comments, authors = found.comments, found.authors
        else:
            rows = self._reads.shared_comments(article_id, NEWEST)
            if rows is None:
                return Absent.NOT_FOUND, [entries.comments_entry(article_id, None)]
            fragments = [comment_fragment(row) for row in rows]
            comments, authors = [ShownComment(one.author_id, one.head) for one in fragments], {}
            set_entries.append(entries.comments_entry(article_id, fragments))
        people = self._reads.people({comment.author_id for comment in comments} - authors.keys())
        fetched = {person.id: author_fragment(person) for person in people}
        set_entries += [entries.author_entry(user_id, author) for user_id, author in fetched.items()]
        return (comments, authors | fetched), set_entries

    def profile(self, username: str, viewer: int | None) -> Profile | Encoded | None:
        def fetch(_found: FoundProfile | None) -> tuple[Person | None, list[Entry]]:
            row = self._reads.shared_profile(username)
            if row is None:
                return None, [entries.name_entry(username, None)]
            author = author_fragment(row)
            return (row.id, author), [entries.name_entry(username, row.id), entries.author_entry(row.id, author)]

        get = partial(self._cache.get_profile, username)
        found = self._through.read("profile", keys.name_key(username), get, FoundProfile.value, fetch)
        if found is None:
            return None
        user_id, person = found
        return join_profile(person, user_id in self._own(viewer, (), (user_id,)).followed)

    def tags(self) -> list[str] | Encoded:
        def fetch(_found: FoundTags | None) -> tuple[Encoded, list[Entry]]:
            tags = tags_fragment(self._reads.shared_tags())
            return tags, [entries.tags_entry(tags)]

        try:
            return self._through.read("tags", keys.TAGS_KEY, self._cache.get_tags, FoundTags.value, fetch)
        except SomeMissingError:
            return self._past_the_cache().tags()

    def _own(self, viewer: int | None, article_ids: Sequence[int], authors: Sequence[int]) -> Own:
        """The viewer's favourites among these articles, and whom of these authors the viewer follows; maybe others."""
        if viewer is None or not (article_ids or authors):
            return NOTHING_OWN
        try:
            own = self._through.read(
                "marks",
                keys.marks_key(viewer),
                partial(self._cache.get_marks, viewer, article_ids, authors),
                FoundMarks.value,
                lambda _found: self._fetch_marks(viewer),
            )
        except SomeMissingError:
            own = None
        return Own(*self._reads.own_marks(viewer, article_ids, authors)) if own is None else own

    def _fetch_marks(self, viewer: int) -> tuple[Own | None, list[Entry]]:
        """All the viewer's marks; None where there are too many, which is cached, too."""
        marks = self._reads.all_marks(viewer, keys.MOST_MARKS)
        if marks is None:
            return None, [entries.no_marks_entry(viewer)]
        return Own(*marks), [entries.marks_entry(viewer, *marks)]
