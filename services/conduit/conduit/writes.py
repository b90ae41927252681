"""The statements of writes, each for one owner's rows, on that owner's primary.

Most are SQL text, since Core would hide what they do: a statement makes a change and updates its counters, so that a
transaction holds its locks for one round trip.

Lock order: an article's favourites, the article, the files of its cover, its author, then counters (articles, tags,
favourites, each in the order of its key). All statements follow it, so that no two transactions deadlock.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Integer, Text, bindparam, insert
from sqlalchemy.dialects.postgresql import ARRAY

from conduit.models import users
from conduit.rows import (
    ArticleRow,
    AuthorRow,
    ChangedUserRow,
    CommentRow,
    CoverRow,
    DeletedCommentRow,
    FollowedRow,
    IdRow,
    LockedArticleRow,
    NewReportRow,
)
from conduit.statements import Changed, NoRow, Row, Statement, changing_statement, sql_statement

_TYPES: dict[str, Any] = {
    "article_id": BigInteger,
    "bio": Text,
    "bio_given": Boolean,
    "body": Text,
    "comment_id": BigInteger,
    "description": Text,
    "digest": Text,
    "email": Text,
    "followee": BigInteger,
    "former_digest": Text,
    "former_state": Text,
    "image": Text,
    "image_given": Boolean,
    "most": Integer,
    "password_hash": Text,
    "report_id": BigInteger,
    "shard": Integer,
    "slug": Text,
    "slug_text": Text,
    "state": Text,
    "tags": ARRAY(Text),
    "title": Text,
    "username": Text,
    "viewer": BigInteger,
}


def _statement(name: str, row: type[Row], sql: str) -> Statement[Row]:
    return sql_statement(name, sql, row, _TYPES)


def _changing(name: str, row: type[Row], sql: str) -> Statement[Changed[Row]]:
    return changing_statement(name, sql, row, _TYPES)


# Where RETURNING reads it, the row is locked already.
_POSITION = "CAST(pg_current_wal_insert_lsn() - '0/0' AS bigint) AS position"


# Users and follows -----------------------------------------------------------------------------------------

INSERT_USER = Statement(
    "insert user",
    insert(users).values(
        id=bindparam("user_id"),
        username=bindparam("username"),
        email=bindparam("email"),
        password_hash=bindparam("password_hash"),
    ),
    NoRow,
)
CHANGE_USER = _statement(
    "change user",
    ChangedUserRow,
    """
    WITH old AS (SELECT id, username, email, bio, image FROM users WHERE id = :viewer FOR NO KEY UPDATE)
    UPDATE users SET username = coalesce(:username, users.username), email = coalesce(:email, users.email),
        password_hash = coalesce(:password_hash, users.password_hash),
        bio = CASE WHEN :bio_given THEN :bio ELSE users.bio END,
        image = CASE WHEN :image_given THEN :image ELSE users.image END
    FROM old WHERE users.id = old.id
    RETURNING old.username AS former_username, old.email AS former_email, users.username, users.email,
              users.bio, users.image,
              (old.username, old.bio, old.image) IS DISTINCT FROM (users.username, users.bio, users.image) AS shows
    """,
)
# Counted as far as the bound. Two transactions at the same time may each add the last one. If both add the same one,
# the second waits for the first, but its snapshot is too old to show the row: below the bound it is there in any case.
FOLLOW = _changing(
    "follow",
    FollowedRow,
    f"""
    WITH held AS (SELECT count(*) AS n FROM (SELECT FROM follows WHERE follower_id = :viewer LIMIT :most) AS f),
    added AS (
        INSERT INTO follows (follower_id, followee_id) SELECT :viewer, :followee FROM held WHERE n < :most
        ON CONFLICT DO NOTHING RETURNING {_POSITION}
    )
    SELECT n < :most
        OR EXISTS (SELECT FROM follows WHERE follower_id = :viewer AND followee_id = :followee) AS follows,
        (SELECT position FROM added) AS position
    FROM held
    """,
)
# The viewer, or no row where there is none: deleting checks no foreign key.
UNFOLLOW = _changing(
    "unfollow",
    IdRow,
    f"""
    WITH gone AS (DELETE FROM follows WHERE follower_id = :viewer AND followee_id = :followee RETURNING {_POSITION})
    SELECT id, (SELECT position FROM gone) AS position FROM users WHERE id = :viewer
    """,
)

# Articles --------------------------------------------------------------------------------------------------

PUBLISH = _changing(
    "publish",
    ArticleRow,
    f"""
    WITH fresh AS (SELECT next_id(:shard) AS id),
    article AS (
        INSERT INTO articles (id, author_id, slug, title, description, body, tag_list)
        SELECT id, :viewer, concat_ws('-', nullif(:slug_text, ''), id), :title, :description, :body, :tags FROM fresh
        RETURNING *
    ),
    tagged AS (INSERT INTO article_tags (article_id, tag) SELECT id, unnest(tag_list) FROM article),
    counted AS (
        INSERT INTO article_counts AS n (shard, count) VALUES (:shard, 1)
        ON CONFLICT (shard) DO UPDATE SET count = n.count + 1
    ),
    tags_counted AS (
        INSERT INTO tag_counts AS n (shard, tag, count) SELECT :shard, unnest(:tags), 1
        ON CONFLICT (shard, tag) DO UPDATE SET count = n.count + 1
    ),
    author AS (
        UPDATE users SET articles_count = articles_count + 1, last_article_id = greatest(last_article_id, article.id)
        FROM article WHERE users.id = :viewer RETURNING username, bio, image
    )
    SELECT article.id, author_id, slug, title, description, body, tag_list, created_at, updated_at, favorites_count,
           username, bio, image, cover_digest, cover_state, false AS favorited, {_POSITION}
    FROM article, author
    """,
)
LOCK_ARTICLE = _statement(
    "lock article",
    LockedArticleRow,
    "SELECT author_id, tag_list, cover_digest FROM articles WHERE id = :article_id FOR UPDATE",
)
# The subquery runs before the outer query locks rows. Without it a deletion would lock the article first and its
# favourites last, by the cascade, while removing a favourite locks them the other way round.
LOCK_TO_DELETE = _statement(
    "lock article to delete it",
    LockedArticleRow,
    """
    WITH held AS MATERIALIZED (SELECT FROM favorites WHERE article_id = :article_id ORDER BY user_id FOR UPDATE)
    SELECT a.author_id, a.tag_list, a.cover_digest
    FROM (SELECT count(*) FROM held) AS favorites, articles a JOIN users u ON u.id = a.author_id
    WHERE a.id = :article_id FOR UPDATE OF a FOR NO KEY UPDATE OF u
    """,
)
# With NULL for :tags the tags stay: a comparison with NULL is never true, and unnest gives no row.
CHANGE_ARTICLE = _changing(
    "change article",
    ArticleRow,
    f"""
    WITH changed AS (
        UPDATE articles SET title = coalesce(:title, title), description = coalesce(:description, description),
            body = coalesce(:body, body), slug = coalesce(:slug, slug), tag_list = coalesce(:tags, tag_list),
            updated_at = date_trunc('milliseconds', clock_timestamp())
        WHERE id = :article_id AND (title, description, body, slug, tag_list) IS DISTINCT FROM (
            coalesce(:title, title), coalesce(:description, description),
            coalesce(:body, body), coalesce(:slug, slug), coalesce(:tags, tag_list))
        RETURNING *, {_POSITION}
    ),
    shown AS (
        SELECT * FROM changed
        UNION ALL SELECT *, NULL FROM articles WHERE id = :article_id AND NOT EXISTS (SELECT FROM changed)
    ),
    old AS (DELETE FROM article_tags WHERE article_id = :article_id AND tag <> ALL (:tags) RETURNING tag),
    fresh AS (
        INSERT INTO article_tags (article_id, tag) SELECT :article_id, unnest(:tags)
        ON CONFLICT DO NOTHING RETURNING tag
    ),
    counted AS (
        INSERT INTO tag_counts AS n (shard, tag, count)
        SELECT :shard, tag, change
        FROM (SELECT tag, -1 AS change FROM old UNION ALL SELECT tag, 1 FROM fresh) AS changes
        ORDER BY tag
        ON CONFLICT (shard, tag) DO UPDATE SET count = n.count + excluded.count
    )
    SELECT a.id, a.author_id, a.slug, a.title, a.description, a.body, a.tag_list, a.created_at, a.updated_at,
           a.favorites_count, u.username, u.bio, u.image, a.cover_digest, a.cover_state,
           EXISTS (SELECT FROM favorites f WHERE f.article_id = a.id AND f.user_id = :viewer) AS favorited, a.position
    FROM shown a JOIN users u ON u.id = a.author_id
    """,
)
DELETE_ARTICLE = _changing(
    "delete article",
    NoRow,
    f"""
    WITH gone AS (DELETE FROM articles WHERE id = :article_id RETURNING author_id, tag_list, {_POSITION}),
    counted AS (UPDATE article_counts SET count = count - 1 WHERE shard = :shard AND EXISTS (SELECT FROM gone)),
    tags_counted AS (
        UPDATE tag_counts AS n SET count = n.count - 1 FROM (
            SELECT tag FROM tag_counts
            WHERE shard = :shard AND tag IN (SELECT unnest(tag_list) FROM gone) ORDER BY tag FOR NO KEY UPDATE
        ) AS held
        WHERE n.shard = :shard AND n.tag = held.tag
    ),
    favorites_counted AS (
        UPDATE favorite_counts AS n SET count = n.count - 1 FROM (
            SELECT user_id FROM favorite_counts
            WHERE shard = :shard AND user_id IN (SELECT user_id FROM favorites WHERE article_id = :article_id)
            ORDER BY user_id FOR NO KEY UPDATE
        ) AS held
        WHERE n.shard = :shard AND n.user_id = held.user_id
    )
    UPDATE users SET articles_count = articles_count - 1, last_article_id = coalesce(
        (SELECT max(a.id) FROM articles a WHERE a.author_id = users.id AND a.id <> :article_id), 0)
    FROM gone WHERE users.id = gone.author_id RETURNING gone.position
    """,
)

# Covers
LOCK_COVER = _statement(
    "lock cover",
    CoverRow,
    "SELECT author_id, cover_digest, cover_state FROM articles WHERE id = :article_id FOR NO KEY UPDATE",
)
# Held until the transaction ends, by who sets a cover and by who deletes its files. So a deletion is over before the
# cover is set, or it finds the article. The files have no row of their own that could be locked.
_LOCK_FILES = "pg_advisory_xact_lock(hashtextextended(:digest, 0))"
LOCK_FILES = _statement("lock files of a cover", NoRow, f"SELECT FROM {_LOCK_FILES}")
# No cover (NULL) locks nothing.
SET_COVER = _statement(
    "set cover",
    NoRow,
    f"UPDATE articles SET cover_digest = :digest, cover_state = :state FROM {_LOCK_FILES} WHERE id = :article_id",
)
# Only if the article still waits for this upload: the task of a later upload finishes that one. "ready" is final.
# The files need no lock here: the article has had this cover, so nobody deletes them.
FINISH_COVER = _statement(
    "finish cover",
    AuthorRow,
    "UPDATE articles SET cover_state = :state "
    "WHERE id = :article_id AND cover_digest = :digest AND cover_state NOT IN ('ready', :state) RETURNING author_id",
)
RESTORE_COVER = _statement(
    "restore cover",
    AuthorRow,
    "UPDATE articles SET cover_digest = :former_digest, cover_state = :former_state "
    "WHERE id = :article_id AND cover_digest = :digest AND cover_state <> 'ready' RETURNING author_id",
)

# Favourites ------------------------------------------------------------------------------------------------


def _marked(favorited: str) -> str:
    return f"""
        SELECT a.id, a.author_id, a.slug, a.title, a.description, a.body, a.tag_list, a.created_at, a.updated_at,
               coalesce((SELECT favorites_count FROM bumped), a.favorites_count) AS favorites_count,
               u.username, u.bio, u.image, a.cover_digest, a.cover_state, {favorited} AS favorited,
               (SELECT position FROM bumped) AS position
        FROM articles a JOIN users u ON u.id = a.author_id WHERE a.id = :article_id
    """


FAVORITE = _changing(
    "favorite",
    ArticleRow,
    f"""
    WITH added AS (
        INSERT INTO favorites (article_id, user_id) SELECT id, :viewer FROM articles WHERE id = :article_id
        ON CONFLICT DO NOTHING RETURNING user_id
    ),
    bumped AS (
        UPDATE articles SET favorites_count = favorites_count + 1
        WHERE id = :article_id AND EXISTS (SELECT FROM added) RETURNING favorites_count, {_POSITION}
    ),
    counted AS (
        INSERT INTO favorite_counts AS n (shard, user_id, count) SELECT :shard, user_id, 1 FROM added
        ON CONFLICT (shard, user_id) DO UPDATE SET count = n.count + 1
    )
    {_marked("true")}
    """,
)
UNFAVORITE = _changing(
    "unfavorite",
    ArticleRow,
    f"""
    WITH removed AS (
        DELETE FROM favorites WHERE article_id = :article_id AND user_id = :viewer RETURNING user_id
    ),
    bumped AS (
        UPDATE articles SET favorites_count = favorites_count - 1
        WHERE id = :article_id AND EXISTS (SELECT FROM removed) RETURNING favorites_count, {_POSITION}
    ),
    counted AS (
        UPDATE favorite_counts SET count = count - 1
        WHERE shard = :shard AND user_id = :viewer AND EXISTS (SELECT FROM removed)
    )
    {_marked("false")}
    """,
)

# Comments --------------------------------------------------------------------------------------------------

ADD_COMMENT = _changing(
    "add comment",
    CommentRow,
    "INSERT INTO comments (article_id, id, author_id, body) "
    "SELECT id, next_id(:shard), :viewer, :body FROM articles WHERE id = :article_id "
    f"RETURNING id, body, created_at, updated_at, author_id, {_POSITION}",
)
DELETE_COMMENT = _changing(
    "delete comment",
    DeletedCommentRow,
    f"""
    WITH old AS (SELECT author_id FROM comments WHERE article_id = :article_id AND id = :comment_id),
    gone AS (
        DELETE FROM comments WHERE article_id = :article_id AND id = :comment_id AND author_id = :viewer
        RETURNING {_POSITION}
    )
    SELECT a.id AS article_id, old.author_id, (SELECT position FROM gone) AS position
    FROM articles a LEFT JOIN old ON true WHERE a.id = :article_id
    """,
)

# Reports ---------------------------------------------------------------------------------------------------

# With those that are too many beside it, where ``most`` are kept: failed ones first, then the oldest. Failed requests
# leave theirs, so there may be many, and one request deletes no more than ``most``.
NEW_REPORT = _statement(
    "new report",
    NewReportRow,
    """
    INSERT INTO reports (id, user_id, state) VALUES (next_id(:shard), :viewer, 'pending')
    RETURNING id, ARRAY(
        SELECT r.id FROM reports r WHERE r.user_id = :viewer ORDER BY r.state <> 'failed', r.id
        LIMIT (SELECT least(:most, greatest(0, count(*) + 1 - :most)) FROM reports WHERE user_id = :viewer)
    ) AS surplus, (SELECT count(*) FROM reports WHERE user_id = :viewer AND state = 'failed') AS failed
    """,
)
DELETE_REPORT = _statement("delete report", NoRow, "DELETE FROM reports WHERE id = :report_id")
FINISH_REPORT = _statement(
    "finish report",
    IdRow,
    "UPDATE reports SET state = :state, finished_at = date_trunc('milliseconds', clock_timestamp()) "
    "WHERE id = :report_id RETURNING id",
)
