"""The statements of lists and of the feed. Each returns ListRows: one server's part of a list."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Text,
    bindparam,
    cast,
    column,
    exists,
    false,
    func,
    null,
    select,
    true,
)

from conduit.models import article_counts, article_tags, articles, favorite_counts, favorites, tag_counts, users
from conduit.queries import AUTHOR, ZERO, article_columns, ids_param, param, user_named
from conduit.rows import ListRow
from conduit.statements import Statement


def _list(
    count: ColumnElement[Any], ids: Subquery, *, signed_in: bool, owner: ColumnElement[Any] | None = None
) -> Select[Any]:
    """The articles of a page of ids. Outer-joined to the count, so that an empty page has it too.

    ``OFFSET 0`` keeps the planner from pulling the subqueries up, so that each id of the page is looked up by primary
    key. The generic plan does not know the limit: it assumes a tenth of the table and would join that to all users.
    ``owner`` is the id of the user whose list it is.
    """
    counted = select(
        cast(func.coalesce(count, ZERO), BigInteger).label("total"),
        cast(null() if owner is None else owner, BigInteger).label("owner"),
    ).subquery("counted")
    favorited: ColumnElement[bool] = false()
    if signed_in:
        marks = favorites.c.article_id == ids.c.id, favorites.c.user_id == param("viewer")
        favorited = exists().where(*marks)
    article = select(articles).where(articles.c.id == ids.c.id).offset(ZERO).lateral("article")
    author = select(*AUTHOR).where(users.c.id == article.c.author_id).offset(ZERO).lateral("author")
    page = (
        select(*article_columns(ListRow, article.c, author.c, favorited))
        .select_from(ids.join(article, true()).join(author, true()))
        .subquery("page")
    )
    rows = select(counted.c.total, *page.c, counted.c.owner)
    return rows.select_from(counted.outerjoin(page, true())).order_by(page.c.id.desc())


def _page_of(ids: Select[Any], column: ColumnElement[Any]) -> Subquery:
    """The page's ids only: of a skipped article just the index entry is read."""
    return (
        ids.where(column < param("before"))
        .order_by(column.desc())
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("ids")
    )


@cache
def list_statement(
    *, tag: bool, author: bool, favorited: bool, signed_in: bool, with_owner: bool = False
) -> Statement[ListRow]:
    """The list for a set of filters, compiled once for each set.

    A list with one filter, the common case, reads its count from a counter. Several filters have no counter: the few
    rows of the author or user are counted. ``with_owner`` adds the id of the user whose list it is, if ``author`` or
    ``favorited`` is the only filter.
    """
    filters = [name for name, wanted in (("tag", tag), ("author", author), ("favorited", favorited)) if wanted]
    name = "articles by " + " and ".join(filters) if filters else "articles"
    owner: ColumnElement[int] | None = None
    if len(filters) > 1:
        ids, count = _filtered(tag=tag, author=author, favorited=favorited)
    elif tag:
        ids = _page_of(select(article_tags.c.article_id.label("id")).where(_HAS_TAG), article_tags.c.article_id)
        in_use = tag_counts.c.tag == bindparam("tag", type_=Text), tag_counts.c.count > ZERO
        count = select(func.sum(tag_counts.c.count)).where(*in_use).scalar_subquery()
    elif author:
        owner = user_named("author")
        ids = _page_of(select(articles.c.id).where(articles.c.author_id == owner), articles.c.id)
        count = select(users.c.articles_count).where(users.c.id == owner).scalar_subquery()
    elif favorited:
        owner = user_named("favorited")
        marks = select(favorites.c.article_id.label("id")).where(favorites.c.user_id == owner)
        ids = _page_of(marks, favorites.c.article_id)
        count = select(func.sum(favorite_counts.c.count)).where(favorite_counts.c.user_id == owner).scalar_subquery()
    else:
        ids = _page_of(select(articles.c.id), articles.c.id)
        count = select(func.sum(article_counts.c.count)).scalar_subquery()
    rows = _list(count, ids, signed_in=signed_in, owner=owner if with_owner else None)
    return Statement(name, rows, ListRow)


_HAS_TAG = article_tags.c.tag == bindparam("tag", type_=Text)


def _filtered(*, tag: bool, author: bool, favorited: bool) -> tuple[Subquery, ColumnElement[Any]]:
    """The page and the count of a list by several filters."""
    ids = select(articles.c.id)
    if author:
        ids = ids.where(articles.c.author_id == user_named("author"))
    if favorited:
        ids = ids.join(favorites, favorites.c.article_id == articles.c.id).where(
            favorites.c.user_id == user_named("favorited")
        )
    if tag:
        ids = ids.join(article_tags, article_tags.c.article_id == articles.c.id).where(_HAS_TAG)
    return _page_of(ids, articles.c.id), select(func.count()).select_from(ids.subquery()).scalar_subquery()


def _feed() -> Select[Any]:
    """The newest articles of some authors.

    Only the ``author_limit`` authors who published last are read, one for each article down to the page's end: each of
    them has a newer article than all other authors. With ``before`` that is not true, and ``author_limit`` is NULL.
    """
    followed = (
        func.unnest(ids_param("authors")).table_valued(column("id", BigInteger), name="followed").render_derived()
    )
    people = (
        select(users.c.id, users.c.articles_count, users.c.last_article_id)
        .join_from(followed, users, users.c.id == followed.c.id)
        .where(users.c.articles_count > ZERO)
        .cte("people")
        .prefix_with("MATERIALIZED")
    )
    count = select(func.sum(people.c.articles_count)).scalar_subquery()
    latest = (
        select(people.c.id)
        .order_by(people.c.last_article_id.desc())
        .limit(bindparam("author_limit", type_=BigInteger))
        .subquery("latest")
    )
    theirs = (
        select(articles.c.id)
        .where(articles.c.author_id == latest.c.id, articles.c.id < param("before"))
        .order_by(articles.c.id.desc())
        .limit(bindparam("depth", type_=BigInteger))
        .lateral("theirs")
    )
    ids = (
        select(theirs.c.id)
        .select_from(latest.join(theirs, true()))
        .order_by(theirs.c.id.desc())
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("ids")
    )
    return _list(count, ids, signed_in=True)


FEED = Statement("feed", _feed(), ListRow)

# Articles by their ids; the total is meaningless here.
SUMMARIES = Statement(
    "summaries",
    _list(ZERO, select(func.unnest(ids_param("ids")).label("id")).subquery("ids"), signed_in=False),
    ListRow,
)
