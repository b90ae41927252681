"""The statements of reads, each for one server, and the reads that use cases share.

Lists and the feed are in ``list_queries.py``, and writes in ``writes.py``.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
)

from conduit.errors import UserGoneError
from conduit.models import articles, comments, favorites, follows, tag_counts, users
from conduit.ports import Database, Media, Reader
from conduit.rows import (
    ArticleRow,
    CommentRow,
    IdRow,
    ListRow,
    MarkRow,
    PersonRow,
    TagRow,
    article_of,
    cover_from,
)
from conduit.schemas import Article
from conduit.statements import Statement

# A literal in the SQL: a generic plan uses a partial index only if the statement shows its condition.
ZERO = literal_column("0", Integer)
AUTHOR = (users.c.username, users.c.bio, users.c.image)
MAX_TAGS = 1_000


def param(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def ids_param(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=ARRAY(BigInteger))


def user_named(name: str) -> ColumnElement[int]:
    """A user's id: from the directory, or looked up by the statement if everything is on one server."""
    in_place = select(users.c.id).where(users.c.username == bindparam(name, type_=Text)).scalar_subquery()
    return func.coalesce(param(f"{name}_id"), in_place)


# One article -----------------------------------------------------------------------------------------------


def article_columns(
    row: type[ArticleRow | ListRow],
    own: Iterable[ColumnElement[Any]],
    author: Iterable[ColumnElement[Any]],
    favorited: ColumnElement[bool],
) -> list[ColumnElement[Any]]:
    """The columns of the row's fields in their order: an article's, its author's, and ``favorited``."""
    columns = {column.key: column for column in (*own, *author, favorited.label("favorited"))}
    return [columns[field] for field in row._fields if field in columns]


def _article(favorited: ColumnElement[bool]) -> Select[Any]:
    return (
        select(*article_columns(ArticleRow, articles.c, AUTHOR, favorited))
        .join_from(articles, users, users.c.id == articles.c.author_id)
        .where(articles.c.id == param("article_id"))
    )


_FAVORITED = exists().where(favorites.c.article_id == articles.c.id, favorites.c.user_id == param("viewer"))
ARTICLE = Statement("article", _article(false()), ArticleRow)
ARTICLE_FOR = Statement("article for a viewer", _article(_FAVORITED), ArticleRow)

# A viewer's marks ------------------------------------------------------------------------------------------


def _ids_as_text(name: str) -> ColumnElement[Any]:
    """An array from the text "1,2,3", which is faster than psycopg's adaptation of a list."""
    return cast(func.string_to_array(bindparam(name, type_=Text), literal_column("','", Text)), ARRAY(BigInteger))


# Favourites are on the articles' shards and follows on the viewer's: a server returns those that it holds.
OWN_MARKS = Statement(
    "marks of a viewer",
    select(true().label("favorited"), favorites.c.article_id.label("id"))
    .where(favorites.c.user_id == param("viewer"), favorites.c.article_id == func.any(_ids_as_text("articles")))
    .union_all(
        select(false(), follows.c.followee_id).where(
            follows.c.follower_id == param("viewer"), follows.c.followee_id == func.any(_ids_as_text("authors"))
        )
    ),
    MarkRow,
)
# All of them, for the cache, as far as one more than ``most``.
_all_favorites = (
    select(true().label("favorited"), favorites.c.article_id.label("id"))
    .where(favorites.c.user_id == param("viewer"))
    .limit(bindparam("most", type_=Integer))
    .subquery("all_favorites")
)
_all_followed = (
    select(false(), follows.c.followee_id)
    .where(follows.c.follower_id == param("viewer"))
    .limit(bindparam("most", type_=Integer))
    .subquery("all_followed")
)
ALL_MARKS = Statement(
    "all marks of a viewer", select(_all_favorites).union_all(select(_all_followed)), MarkRow
)
_followees = select(follows.c.followee_id.label("id")).where(follows.c.follower_id == param("viewer"))
FOLLOWEES = Statement("followees", _followees, IdRow)
FOLLOWED = Statement("followed", _followees.where(follows.c.followee_id == func.any(ids_param("authors"))), IdRow)

# Comments, people, tags ------------------------------------------------------------------------------------

_newest_comments = (
    select(comments)
    .where(comments.c.article_id == param("article_id"), comments.c.id < param("before"))
    .order_by(comments.c.id.desc())
    .limit(bindparam("limit", type_=Integer))
    .subquery("newest")
)
# Outer-joined to the article: an article without comments is one row of NULL, a missing article is none.
COMMENTS = Statement(
    "comments",
    select(
        _newest_comments.c.id,
        _newest_comments.c.body,
        _newest_comments.c.created_at,
        _newest_comments.c.updated_at,
        _newest_comments.c.author_id,
    )
    .select_from(articles.outerjoin(_newest_comments, true()))
    .where(articles.c.id == param("article_id"))
    .order_by(_newest_comments.c.id.desc()),
    CommentRow,
)
PEOPLE = Statement("people", select(users.c.id, *AUTHOR).where(users.c.id == func.any(ids_param("ids"))), PersonRow)
PROFILE = Statement(
    "profile",
    select(users.c.id, *AUTHOR).where(
        users.c.id == user_named("username"), users.c.username == bindparam("username", type_=Text)
    ),
    PersonRow,
)


def _tags() -> Select[Any]:
    """The distinct tags in use, by a loose index scan: one step for each tag instead of one row for each shard."""
    in_use = tag_counts.c.count > ZERO
    hops = select(func.min(tag_counts.c.tag).label("tag")).where(in_use).cte("hops", recursive=True)
    following = select(func.min(tag_counts.c.tag)).where(in_use, tag_counts.c.tag > hops.c.tag).scalar_subquery()
    hops = hops.union_all(select(following).where(hops.c.tag.is_not(None)))
    return select(hops.c.tag).where(hops.c.tag.is_not(None)).limit(literal(MAX_TAGS, literal_execute=True))


TAGS = Statement("tags", _tags(), TagRow)

# Reads that use cases share --------------------------------------------------------------------------------


def read_article(
    reader: Reader,
    media: Media,
    article_id: int,
    viewer: int | None,
    followed: Callable[[int | None, Iterable[int]], set[int]],
) -> Article | None:
    """One article. A write passes its own transaction as the reader, to see what it wrote.

    ``followed`` finds the authors among some whom the viewer follows, as ``followed_by`` does.
    """
    if viewer is None:
        row = reader.first(ARTICLE, article_id=article_id)
    else:
        row = reader.first(ARTICLE_FOR, article_id=article_id, viewer=viewer)
    if row is None:
        return None
    following = row.author_id in followed(viewer, (row.author_id,))
    return article_of(row, cover_from(media, row.cover_digest, row.cover_state), following)


def require_user(database: Database, user_id: int) -> PersonRow:
    """The user of a valid token. Raises UserGoneError if the token outlived its user.

    A write asks this where no foreign key does: the user's row may be on another server than what is written.
    """
    row = database.reader(user_id).first(PEOPLE, ids=[user_id])
    if row is None:
        raise UserGoneError
    return row


def read_person(database: Database, username: str) -> PersonRow | None:
    found = database.find_username(username)
    return found.reader.first(PROFILE, username=username, username_id=found.user_id) if found else None


def followed_by(database: Database, viewer: int | None, authors: Iterable[int]) -> set[int]:
    """The authors among these whom the viewer follows. Makes no query without a viewer or without other authors."""
    others = [author for author in authors if author != viewer]
    if viewer is None or not others:
        return set()
    return {row.id for row in database.reader(viewer).all(FOLLOWED, viewer=viewer, authors=others)}
