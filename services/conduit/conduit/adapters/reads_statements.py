"""The statements of ``reads_sql``, each one server's part of an answer."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
)

from conduit.models import (
    article_counts,
    article_tags,
    articles,
    comments,
    favorite_counts,
    favorites,
    follows,
    tag_counts,
    users,
)
from conduit.statements import Statement

# Written into the SQL: a partial index is only used where the plan can see its condition.
_ZERO = literal_column("0", Integer)


def _param(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def _ids(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=ARRAY(BigInteger))


def _named(name: str) -> ColumnElement[int]:
    """A user's id: the one the directory gave, else looked up here, where everything is on this server."""
    in_place = select(users.c.id).where(users.c.username == bindparam(name, type_=Text)).scalar_subquery()
    return func.coalesce(_param(f"{name}_id"), in_place)


# One article -----------------------------------------------------------------------------------------------

_AUTHOR = (users.c.username, users.c.bio, users.c.image)
_COVER = (articles.c.cover_digest, articles.c.cover_state)
ARTICLE_COLUMNS = (
    articles.c.author_id,
    articles.c.slug,
    articles.c.title,
    articles.c.description,
    articles.c.body,
    articles.c.tag_list,
    articles.c.created_at,
    articles.c.updated_at,
    articles.c.favorites_count,
    *_AUTHOR,
    *_COVER,
)
_ARTICLE = (
    select(*ARTICLE_COLUMNS)
    .join_from(articles, users, users.c.id == articles.c.author_id)
    .where(articles.c.id == _param("article_id"))
)
_FAVORITED = exists().where(favorites.c.article_id == articles.c.id, favorites.c.user_id == _param("viewer"))
ARTICLE = Statement("article", _ARTICLE)
ARTICLE_FOR = Statement("article for a viewer", _ARTICLE.add_columns(_FAVORITED))

# Lists -----------------------------------------------------------------------------------------------------
# Positions in a list's row: count, id, author, then what _summary in reads_sql takes.
ID = 1
AUTHOR_ID = 2


def _list(
    count: ColumnElement[Any], ids: Subquery, *, signed_in: bool, owner: ColumnElement[Any] | None = None
) -> Select[Any]:
    """The articles of a page of ids. Outer-joined to the count, which an empty page must carry too.

    ``OFFSET 0`` keeps the planner from pulling the subqueries up, so that each id of the page is looked up by primary
    key. It plans without seeing the limit, takes a page for a tenth of the table, and would join it to all users.
    ``owner`` is the id of who the list is named for, and comes last in every row.
    """
    total = select(cast(func.coalesce(count, _ZERO), BigInteger).label("count"))
    counted = (total if owner is None else total.add_columns(owner.label("owner"))).subquery("counted")
    favorited: ColumnElement[bool] = false()
    if signed_in:
        marks = favorites.c.article_id == ids.c.id, favorites.c.user_id == _param("viewer")
        favorited = exists().where(*marks)
    article = select(articles).where(articles.c.id == ids.c.id).offset(_ZERO).lateral("article")
    author = select(*_AUTHOR).where(users.c.id == article.c.author_id).offset(_ZERO).lateral("author")
    page = (
        select(
            article.c.id,
            article.c.author_id,
            article.c.slug,
            article.c.title,
            article.c.description,
            article.c.tag_list,
            article.c.created_at,
            article.c.updated_at,
            article.c.favorites_count,
            *author.c,
            article.c.cover_digest,
            article.c.cover_state,
            favorited.label("favorited"),
        )
        .select_from(ids.join(article, true()).join(author, true()))
        .subquery("page")
    )
    last = () if owner is None else (counted.c.owner,)
    rows = select(counted.c.count, *page.c, *last)
    return rows.select_from(counted.outerjoin(page, true())).order_by(page.c.id.desc())


def _page_of(ids: Select[Any], column: ColumnElement[Any]) -> Subquery:
    """The newest ids of the page only: what is skipped is never read beyond its index entry."""
    return (
        ids.where(column < _param("before"))
        .order_by(column.desc())
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("ids")
    )


@cache
def list_statement(
    *, tag: bool, author: bool, favorited: bool, signed_in: bool, with_owner: bool = False
) -> Statement:
    """The list for a set of filters. One filter, the common case, has its count from a counter; several have no
    counter and are counted among the few rows of the author or the user they name.

    ``with_owner`` has the id of the one user that it is named for behind each row: ``favorited`` comes before it.
    """
    filters = [name for name, wanted in (("tag", tag), ("author", author), ("favorited", favorited)) if wanted]
    name = "articles by " + " and ".join(filters) if filters else "articles"
    has_tag = and_(article_tags.c.tag == bindparam("tag", type_=Text))
    ids: Select[Any]
    count: ColumnElement[Any]
    if len(filters) > 1:
        ids = select(articles.c.id)
        if author:
            ids = ids.where(articles.c.author_id == _named("author"))
        if favorited:
            ids = ids.join(favorites, favorites.c.article_id == articles.c.id).where(
                favorites.c.user_id == _named("favorited")
            )
        if tag:
            ids = ids.join(article_tags, article_tags.c.article_id == articles.c.id).where(has_tag)
        count = select(func.count()).select_from(ids.subquery()).scalar_subquery()
        return Statement(name, _list(count, _page_of(ids, articles.c.id), signed_in=signed_in))
    if tag:
        ids = select(article_tags.c.article_id.label("id")).where(has_tag)
        count = (
            select(func.sum(tag_counts.c.count))
            .where(tag_counts.c.tag == bindparam("tag", type_=Text), tag_counts.c.count > _ZERO)
            .scalar_subquery()
        )
        return Statement(name, _list(count, _page_of(ids, article_tags.c.article_id), signed_in=signed_in))
    if author:
        ids = select(articles.c.id).where(articles.c.author_id == _named("author"))
        count = select(users.c.articles_count).where(users.c.id == _named("author")).scalar_subquery()
        owner = _named("author") if with_owner else None
        return Statement(name, _list(count, _page_of(ids, articles.c.id), signed_in=signed_in, owner=owner))
    if favorited:
        ids = select(favorites.c.article_id.label("id")).where(favorites.c.user_id == _named("favorited"))
        count = (
            select(func.sum(favorite_counts.c.count))
            .where(favorite_counts.c.user_id == _named("favorited"))
            .scalar_subquery()
        )
        owner = _named("favorited") if with_owner else None
        return Statement(name, _list(count, _page_of(ids, favorites.c.article_id), signed_in=signed_in, owner=owner))
    count = select(func.sum(article_counts.c.count)).scalar_subquery()
    return Statement(name, _list(count, _page_of(select(articles.c.id), articles.c.id), signed_in=signed_in))


def _feed() -> Select[Any]:
    """The newest articles of some authors, from one row an author and the newest rows of a page's worth of them.

    An author who is not among the ``author_limit`` who published last (the page's depth) has nothing on the page, as
    each of those has an article that is newer. With ``before`` that does not hold, and ``author_limit`` is NULL.
    """
    followed = func.unnest(_ids("authors")).table_valued(column("id", BigInteger), name="followed").render_derived()
    people = (
        select(users.c.id, users.c.articles_count, users.c.last_article_id)
        .join_from(followed, users, users.c.id == followed.c.id)
        .where(users.c.articles_count > _ZERO)
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
        .where(articles.c.author_id == latest.c.id, articles.c.id < _param("before"))
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


FEED = Statement("feed", _feed())

# The columns are those of a list's row, so that one is read as the other: a count that says nothing comes first.
SUMMARIES = Statement(
    "summaries",
    _list(_ZERO, select(func.unnest(_ids("ids")).label("id")).subquery("ids"), signed_in=False),
)


def _written_ids(name: str) -> ColumnElement[Any]:
    """Ids as "1,2,3": making an array of them cost the app 60 us for twenty, which is a third of the query's time."""
    return cast(func.string_to_array(bindparam(name, type_=Text), literal_column("','", Text)), ARRAY(BigInteger))


# What is a viewer's own about articles and authors, each wherever it lies: (True, article) and (False, author).
OWN_MARKS = Statement(
    "marks of a viewer",
    select(true().label("favorited"), favorites.c.article_id)
    .where(favorites.c.user_id == _param("viewer"), favorites.c.article_id == func.any(_written_ids("articles")))
    .union_all(
        select(false(), follows.c.followee_id).where(
            follows.c.follower_id == _param("viewer"), follows.c.followee_id == func.any(_written_ids("authors"))
        )
    ),
)

FOLLOWEES = Statement("followees", select(follows.c.followee_id).where(follows.c.follower_id == _param("viewer")))
FOLLOWED = Statement(
    "followed",
    select(follows.c.followee_id).where(
        follows.c.follower_id == _param("viewer"), follows.c.followee_id == func.any(_ids("authors"))
    ),
)

# Comments, people, tags ------------------------------------------------------------------------------------

_newest_comments = (
    select(comments)
    .where(comments.c.article_id == _param("article_id"), comments.c.id < _param("before"))
    .order_by(comments.c.id.desc())
    .limit(bindparam("limit", type_=Integer))
    .subquery("newest")
)
# Outer-joined to the article, so that one without comments and one that is not there can be told apart.
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
    .where(articles.c.id == _param("article_id"))
    .order_by(_newest_comments.c.id.desc()),
)
PEOPLE = Statement("people", select(users.c.id, *_AUTHOR).where(users.c.id == func.any(_ids("ids"))))
PROFILE = Statement(
    "profile",
    select(users.c.id, *_AUTHOR).where(
        users.c.id == _named("username"), users.c.username == bindparam("username", type_=Text)
    ),
)


def _tags() -> Select[Any]:
    """The distinct tags in use, by hopping from each to the next in the index: a step a tag, not a row a shard."""
    in_use = tag_counts.c.count > _ZERO
    hops = select(func.min(tag_counts.c.tag).label("tag")).where(in_use).cte("hops", recursive=True)
    following = select(func.min(tag_counts.c.tag)).where(in_use, tag_counts.c.tag > hops.c.tag).scalar_subquery()
    hops = hops.union_all(select(following).where(hops.c.tag.is_not(None)))
    return select(hops.c.tag).where(hops.c.tag.is_not(None)).limit(literal(MAX_TAGS, literal_execute=True))


MAX_TAGS = 1_000
TAGS = Statement("tags", _tags())
