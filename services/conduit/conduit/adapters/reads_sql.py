"""Reads from the database: at most two queries a server for a route, three for comments.

A viewer's follows are on the viewer's shard and articles on their authors', so no statement joins the two. A list reads
the newest rows of every server and merges them by id, which sorts by time. With a single server, that server also
applies the offset.

Where one of several servers does not answer, a list has the others' rows, and a viewer's marks there count as not set.
What is kept in a cache (``shared_…`` and ``all_marks``) is whole, or an error.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from conduit import list_queries, queries
from conduit.adapters.scatter_gather import gather, gather_some, note_missing
from conduit.errors import UnavailableError
from conduit.ids import MAX_ID
from conduit.ports import Database, Media, Page, Reader
from conduit.rows import (
    ArticleRow,
    CommentRow,
    ListRow,
    MarkRow,
    PersonRow,
    comment_from,
    cover_from,
    profile_from,
    summary_of,
)
from conduit.schemas import Article, ArticleSummary, Comment, Profile
from conduit.statements import Statement

_Answer = TypeVar("_Answer")


class ListRows(NamedTuple):
    """A page of a list, newest first, and the total number of articles in the list.

    ``owner`` is the id of the user whose list it is, if the statement selects it.
    """

    rows: list[ListRow]
    total: int
    owner: int | None


_NOTHING = ListRows([], 0, None)


class _Ask(Protocol):
    """``gather`` or ``gather_some``."""

    def __call__(self, readers: Sequence[Reader], question: Callable[[Reader], _Answer], /) -> list[_Answer]: ...


class SqlReads:
    """Reads that always query the database. ``media`` gives the URLs of a cover's files."""

    def __init__(self, database: Database, media: Media) -> None:
        self._database = database
        self._media = media

    # Articles -----------------------------------------------------------------------------------------------

    def article(self, article_id: int, viewer: int | None) -> Article | None:
        return queries.read_article(self._database.reader(article_id), self._media, article_id, viewer, self._followed)

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[ArticleSummary], int]:
        """The newest articles that match all given filters. An unknown author or user has none."""
        filters = {"tag": tag, "author": author, "favorited": favorited}
        rows, total, _ = self._listed(page, viewer, filters, with_owner=False, ask=gather_some)
        followed = self._followed(viewer, {row.author_id for row in rows})
        media = self._media
        return [
            summary_of(row, cover_from(media, row.cover_digest, row.cover_state), row.author_id in followed)
            for row in rows
        ], total

    def _listed(
        self, page: Page, viewer: int | None, filters: Mapping[str, str | None], *, with_owner: bool, ask: _Ask
    ) -> ListRows:
        parameters: dict[str, Any] = {"before": page.before, "viewer": viewer}
        readers: Sequence[Reader] = self._database.readers()
        if (author := filters["author"]) is not None:
            if (found := self._database.find_username(author)) is None:
                return _NOTHING
            readers = [found.reader]
            parameters |= {"author": author, "author_id": found.user_id}
        if (favorited := filters["favorited"]) is not None:
            if (found := self._database.find_username(favorited)) is None:
                return _NOTHING
            parameters |= {"favorited": favorited, "favorited_id": found.user_id}
        if (tag := filters["tag"]) is not None:
            parameters["tag"] = tag
        statement = list_queries.list_statement(
            tag=tag is not None,
            author=author is not None,
            favorited=favorited is not None,
            signed_in=viewer is not None,
            with_owner=with_owner,
        )
        return self._newest(statement, readers, page, parameters, ask=ask)

    def feed(self, page: Page, viewer: int) -> tuple[list[ArticleSummary], int]:
        followees = [row.id for row in self._database.reader(viewer).all(queries.FOLLOWEES, viewer=viewer)]
        groups = self._database.readers_of(followees)
        if not groups:
            return [], 0
        ids_at = {reader.server: ids for reader, ids in groups}
        readers = [reader for reader, _ in groups]
        parameters = {"before": page.before, "viewer": viewer}
        rows, total, _ = self._newest(list_queries.FEED, readers, page, parameters, ask=self._some, authors_at=ids_at)
        media = self._media
        return [
            summary_of(row, cover_from(media, row.cover_digest, row.cover_state), following=True)
            for row in rows
        ], total

    def _newest(
        self,
        statement: Statement[ListRow],
        readers: Sequence[Reader],
        page: Page,
        parameters: dict[str, Any],
        *,
        ask: _Ask,
        authors_at: dict[str, list[int]] | None = None,
    ) -> ListRows:
        """The page's rows over all readers. The total is the sum of theirs."""
        alone = len(readers) == 1
        bounds = {
            "limit": page.limit if alone else page.offset + page.limit,
            "offset": page.offset if alone else 0,
            # A page of the feed has articles of the authors who published last only, at least one of each.
            "depth": page.offset + page.limit,
            "author_limit": page.offset + page.limit if page.before > MAX_ID else None,
        }

        def newest(reader: Reader) -> list[ListRow]:
            extra = {} if authors_at is None else {"authors": authors_at[reader.server]}
            return reader.all(statement, **parameters, **bounds, **extra)

        rows: list[ListRow] = []
        total = 0
        owner: int | None = None
        for answer in ask(readers, newest):
            if answer:
                # Every row has its server's total and owner. A page without articles is one row with only these.
                first = answer[0]
                total += first.total
                owner = first.owner
                if first.id is not None:
                    rows += answer
        if alone:
            return ListRows(rows, total, owner)
        rows.sort(key=attrgetter("id"), reverse=True)
        return ListRows(rows[page.offset : page.offset + page.limit], total, owner)

    def tags(self) -> list[str]:
        return self._tags(gather_some)

    def _tags(self, ask: _Ask) -> list[str]:
        answers = ask(self._database.readers(), lambda reader: reader.all(queries.TAGS))
        return sorted({row.tag for rows in answers for row in rows})

    # Comments and profiles ----------------------------------------------------------------------------------

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[Comment] | None:
        rows = self.shared_comments(article_id, page)
        if rows is None:
            return None
        writers = {row.author_id for row in rows}
        people = {person.id: person for person in self._people(writers, self._some)}
        followed = self._followed(viewer, writers)
        return [
            comment_from(row, people[row.author_id], row.author_id in followed)
            for row in rows
            if row.author_id in people
        ]

    def profile(self, username: str, viewer: int | None) -> Profile | None:
        row = self.shared_profile(username)
        if row is None:
            return None
        return profile_from(row, row.id in self._followed(viewer, (row.id,)))

    def _followed(self, viewer: int | None, authors: Iterable[int]) -> set[int]:
        try:
            return queries.followed_by(self._database, viewer, authors)
        except UnavailableError:
            if viewer is None or not self._has_others:
                raise
            note_missing([self._database.reader(viewer).server])
            return set()

    @property
    def _has_others(self) -> bool:
        """Whether what one server does not answer is only a part of most answers."""
        return len(self._database.readers()) > 1

    def _all(self, readers: Sequence[Reader], question: Callable[[Reader], _Answer]) -> list[_Answer]:
        return gather(readers, question, others=self._has_others)

    def _some(self, readers: Sequence[Reader], question: Callable[[Reader], _Answer]) -> list[_Answer]:
        return gather_some(readers, question, others=self._has_others)

    # For the cache: rows that are the same for every viewer, and one viewer's marks ----------------------------

    def shared_article(self, article_id: int) -> ArticleRow | None:
        return self._database.reader(article_id).first(queries.ARTICLE, article_id=article_id)

    def shared_articles(
        self, page: Page, *, tag: str | None = None, author: str | None = None, favorited: str | None = None
    ) -> ListRows:
        """A list with one filter at most."""
        filters = {"tag": tag, "author": author, "favorited": favorited}
        with_owner = author is not None or favorited is not None
        return self._listed(page, None, filters, with_owner=with_owner, ask=gather)

    def summaries(self, article_ids: Iterable[int]) -> list[ListRow]:
        """Those of these articles that exist."""
        ids_at = dict(self._database.readers_of(article_ids))
        answers = self._all(list(ids_at), lambda reader: reader.all(list_queries.SUMMARIES, ids=ids_at[reader]))
        return [row for rows in answers for row in rows if row.id is not None]

    def shared_comments(self, article_id: int, page: Page) -> list[CommentRow] | None:
        """The newest comments; None without the article."""
        rows = self._database.reader(article_id).all(
            queries.COMMENTS, article_id=article_id, before=page.before, limit=page.limit
        )
        return [row for row in rows if row.id is not None] if rows else None

    def people(self, user_ids: Iterable[int]) -> list[PersonRow]:
        return self._people(user_ids, self._all)

    def _people(self, user_ids: Iterable[int], ask: _Ask) -> list[PersonRow]:
        ids_at = dict(self._database.readers_of(user_ids))
        answers = ask(list(ids_at), lambda reader: reader.all(queries.PEOPLE, ids=ids_at[reader]))
        return [person for people in answers for person in people]

    def shared_tags(self) -> list[str]:
        return self._tags(gather)

    def shared_profile(self, username: str) -> PersonRow | None:
        return queries.read_person(self._database, username)

    def all_marks(self, viewer: int, most: int) -> tuple[set[int], set[int]] | None:
        """All the viewer's favourites, and all whom the viewer follows; None where there are more than ``most``."""
        answers = gather(
            self._database.readers(), lambda reader: reader.all(queries.ALL_MARKS, viewer=viewer, most=most + 1)
        )
        rows = [row for answer in answers for row in answer]
        if len(rows) > most:
            return None
        favorites = {row.id for row in rows if row.favorited}
        return favorites, {row.id for row in rows if not row.favorited}

    def own_marks(self, viewer: int, article_ids: Iterable[int], authors: Iterable[int]) -> tuple[set[int], set[int]]:
        """The viewer's favourites among these articles, and the authors among these whom the viewer follows.

        Favourites are on the articles' shards and follows on the viewer's. A server that holds both needs one query.
        """
        others = [author for author in authors if author != viewer]
        own = self._database.reader(viewer)
        groups = self._database.readers_of(article_ids)
        if others and all(reader is not own for reader, _ in groups):
            groups.append((own, []))
        ids_at = dict(groups)

        def marks(reader: Reader) -> list[MarkRow]:
            theirs = others if reader is own else []
            texts = {"articles": ",".join(map(str, ids_at[reader])), "authors": ",".join(map(str, theirs))}
            return reader.all(queries.OWN_MARKS, viewer=viewer, **texts)

        rows = [row for answer in self._some(list(ids_at), marks) for row in answer]
        return {row.id for row in rows if row.favorited}, {row.id for row in rows if not row.favorited}
