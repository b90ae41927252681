"""Reads from the database: at most two queries a server for a route, three for comments.

A viewer's follows live with the viewer and articles with their authors, so no statement here joins the two; a list
asks every server for its newest rows and merges by id, which is a time. Where only one server is asked it also
applies the offset.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from conduit.adapters import reads_statements as sql
from conduit.ids import MAX_ID
from conduit.media_names import SIZES, cover_file
from conduit.ports import Database, Media, Page, Reader
from conduit.schemas import Article, ArticleSummary, Comment, Cover, Profile
from conduit.statements import AnyRow, Statement


class SqlReads:
    """Reads that always ask the database. ``media`` says where a cover's files are; it is not asked for them."""

    def __init__(self, database: Database, media: Media) -> None:
        self._database = database
        self._media = media

    # Articles -----------------------------------------------------------------------------------------------

    def article(self, article_id: int, viewer: int | None) -> Article | None:
        return read_article(self._database, self._media, self._database.reader(article_id), article_id, viewer)

    def articles(
        self, page: Page, viewer: int | None, *, tag: str | None, author: str | None, favorited: str | None
    ) -> tuple[list[ArticleSummary], int]:
        """The newest articles that pass every filter given. An unknown author or user has none."""
        filters = {"tag": tag, "author": author, "favorited": favorited}
        rows, count, _ = self._listed(page, viewer, filters, with_owner=False)
        authors = {row[sql.AUTHOR_ID] for row in rows}
        followed = self._followed(viewer, authors)
        return [_summary(row, self._media, row[sql.AUTHOR_ID] in followed) for row in rows], count

    def _listed(
        self, page: Page, viewer: int | None, filters: Mapping[str, str | None], *, with_owner: bool
    ) -> tuple[list[AnyRow], int, int | None]:
        """The rows of a list, its count and, where that is asked for, the id of the user that it is named for."""
        parameters: dict[str, Any] = {"before": page.before, "viewer": viewer}
        readers: Sequence[Reader] = self._database.readers()
        if (author := filters["author"]) is not None:
            if (found := self._database.find_username(author)) is None:
                return [], 0, None
            readers = [found.reader]
            parameters |= {"author": author, "author_id": found.user_id}
        if (favorited := filters["favorited"]) is not None:
            if (found := self._database.find_username(favorited)) is None:
                return [], 0, None
            parameters |= {"favorited": favorited, "favorited_id": found.user_id}
        if (tag := filters["tag"]) is not None:
            parameters["tag"] = tag
        statement = sql.list_statement(
            tag=tag is not None,
            author=author is not None,
            favorited=favorited is not None,
            signed_in=viewer is not None,
            with_owner=with_owner,
        )
        return self._newest(statement, readers, page, parameters)

    def feed(self, page: Page, viewer: int) -> tuple[list[ArticleSummary], int]:
        followees = [row[0] for row in self._database.reader(viewer).all(sql.FOLLOWEES, viewer=viewer)]
        groups = self._database.readers_of(followees)
        if not groups:
            return [], 0
        ids_at = {reader.server: ids for reader, ids in groups}
        rows, count, _ = self._newest(
            sql.FEED,
            [reader for reader, _ in groups],
            page,
            {"before": page.before, "viewer": viewer},
            ids_at,
        )
        return [_summary(row, self._media, following=True) for row in rows], count

    def _newest(
        self,
        statement: Statement,
        readers: Sequence[Reader],
        page: Page,
        parameters: dict[str, Any],
        authors_at: dict[str, list[int]] | None = None,
    ) -> tuple[list[AnyRow], int, int | None]:
        """The page's rows over all readers, newest first, the sum of their counts, and what a row ends in: the list's
        owner, where the statement has one."""
        alone = len(readers) == 1
        bounds = {
            "limit": page.limit if alone else page.offset + page.limit,
            "offset": page.offset if alone else 0,
            # A feed's page can only hold articles of the authors who published last, one of each at the least.
            "depth": page.offset + page.limit,
            "author_limit": page.offset + page.limit if page.before > MAX_ID else None,
        }
        rows: list[AnyRow] = []
        count = 0
        owner: int | None = None
        for reader in readers:
            extra = {} if authors_at is None else {"authors": authors_at[reader.server]}
            answer = reader.all(statement, **parameters, **bounds, **extra)
            # Every row carries its server's count; a server with none on this page sends one row of it alone.
            count += answer[0][0] if answer else 0
            owner = answer[0][-1] if answer else None
            rows += answer if answer and answer[0][sql.ID] is not None else []
        if alone:
            return rows, count, owner
        rows.sort(key=itemgetter(sql.ID), reverse=True)
        return rows[page.offset : page.offset + page.limit], count, owner

    def tags(self) -> list[str]:
        return sorted({row[0] for reader in self._database.readers() for row in reader.all(sql.TAGS)})

    # Comments and profiles ----------------------------------------------------------------------------------

    def comments(self, article_id: int, viewer: int | None, page: Page) -> list[Comment] | None:
        rows = self.shared_comments(article_id, page)
        if rows is None:
            return None
        writers = {row[4] for row in rows}
        people = {person[0]: person for person in self.people(writers)}
        followed = self._followed(viewer, writers)
        return [
            Comment(
                row[0],
                row[2],
                row[3],
                row[1],
                profile_from(people[row[4]], row[4] in followed),
            )
            for row in rows
            if row[4] in people
        ]

    def profile(self, username: str, viewer: int | None) -> Profile | None:
        row = self.shared_profile(username)
        if row is None:
            return None
        return profile_from(row, row[0] in self._followed(viewer, (row[0],)))

    def _followed(self, viewer: int | None, authors: Iterable[int]) -> set[int]:
        return followed_by(self._database, viewer, authors)

    # What is everybody's, with the ids of whose it is, and what is one viewer's -------------------------------

    def shared_article(self, article_id: int) -> AnyRow | None:
        """A row of ``reads_statements.ARTICLE_COLUMNS``."""
        return self._database.reader(article_id).first(sql.ARTICLE, article_id=article_id)

    def shared_articles(
        self, page: Page, *, tag: str | None = None, author: str | None = None, favorited: str | None = None
    ) -> tuple[list[AnyRow], int, int | None]:
        """The rows of a list with one filter at the most, its count, and the id of the user whom that names."""
        filters = {"tag": tag, "author": author, "favorited": favorited}
        named = author is not None or favorited is not None
        rows, count, owner = self._listed(page, None, filters, with_owner=named)
        return rows, count, owner if named else None

    def summaries(self, article_ids: Iterable[int]) -> list[AnyRow]:
        """Rows of a list, of these articles as far as there are any."""
        return [
            row
            for reader, ids in self._database.readers_of(article_ids)
            for row in reader.all(sql.SUMMARIES, ids=ids)
            if row[sql.ID] is not None
        ]

    def shared_comments(self, article_id: int, page: Page) -> list[AnyRow] | None:
        """Rows of id, text, times and who wrote it; None without the article."""
        rows = self._database.reader(article_id).all(
            sql.COMMENTS, article_id=article_id, before=page.before, limit=page.limit
        )
        return [row for row in rows if row[0] is not None] if rows else None

    def people(self, user_ids: Iterable[int]) -> list[AnyRow]:
        """Rows of id, name, bio and image."""
        return [
            person
            for reader, ids in self._database.readers_of(user_ids)
            for person in reader.all(sql.PEOPLE, ids=ids)
        ]

    def shared_profile(self, username: str) -> AnyRow | None:
        found = self._database.find_username(username)
        return found.reader.first(sql.PROFILE, username=username, username_id=found.user_id) if found else None

    def own_marks(self, viewer: int, article_ids: Iterable[int], authors: Iterable[int]) -> tuple[set[int], set[int]]:
        """Of these articles the viewer's favourites, and of these authors those whom the viewer follows.

        Favourites lie with the articles and follows with the viewer: one query a server, whichever it has.
        """
        others = [author for author in authors if author != viewer]
        own = self._database.reader(viewer)
        asked = self._database.readers_of(article_ids)
        if others and all(reader is not own for reader, _ in asked):
            asked.append((own, []))
        favorites: set[int] = set()
        followed: set[int] = set()
        for reader, ids in asked:
            theirs = others if reader is own else []
            written = {"articles": ",".join(map(str, ids)), "authors": ",".join(map(str, theirs))}
            for favorited, found in reader.all(sql.OWN_MARKS, viewer=viewer, **written):
                (favorites if favorited else followed).add(found)
        return favorites, followed


def followed_by(database: Database, viewer: int | None, authors: Iterable[int]) -> set[int]:
    """Those of these authors whom the viewer follows; nobody is asked where there is no viewer or no other."""
    others = [author for author in authors if author != viewer]
    if viewer is None or not others:
        return set()
    return {row[0] for row in database.reader(viewer).all(sql.FOLLOWED, viewer=viewer, authors=others)}


def read_article(
    database: Database, media: Media, reader: Reader, article_id: int, viewer: int | None
) -> Article | None:
    """One article as this reader sees it: a write passes its own transaction, to answer with what it wrote."""
    if viewer is None:
        row = reader.first(sql.ARTICLE, article_id=article_id)
    else:
        row = reader.first(sql.ARTICLE_FOR, article_id=article_id, viewer=viewer)
    if row is None:
        return None
    following = row[0] in followed_by(database, viewer, (row[0],))
    return article_from(row, cover_from(media, row[12], row[13]), following)


def article_from(row: AnyRow, cover: Cover | None, following: bool) -> Article:
    """An article from a row of ``reads_statements.ARTICLE_COLUMNS``, with ``favorited`` behind them or not."""
    return Article(
        slug=row[1],
        title=row[2],
        description=row[3],
        tag_list=row[5],
        created_at=row[6],
        updated_at=row[7],
        favorited=len(row) > 14 and row[14],
        favorites_count=row[8],
        author=Profile(row[9], row[10], row[11], following),
        cover=cover,
        body=row[4],
    )


def cover_from(media: Media, digest: str | None, state: str | None) -> Cover | None:
    """A cover as the API shows it: with addresses once its files are there."""
    if digest is None or state is None:
        return None
    if state != "ready":
        return Cover(state)
    return Cover(state, *(media.url(cover_file(digest, size)) for size in SIZES))


def profile_from(row: AnyRow, following: bool) -> Profile:
    """A profile from a row of ``reads_statements.PEOPLE`` or ``PROFILE``: id, name, bio, image."""
    return Profile(row[1], row[2], row[3], following)


def _summary(row: AnyRow, media: Media, following: bool) -> ArticleSummary:
    return ArticleSummary(
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[15],
        row[9],
        Profile(row[10], row[11], row[12], following),
        cover_from(media, row[13], row[14]),
    )
