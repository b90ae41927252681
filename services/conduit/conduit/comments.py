"""Comments. They are on the shard of the article's author; the commenter's profile may be on another server."""

from conduit import ids, queries, writes
from conduit.articles import id_of
from conduit.conflicts import retry_on_conflict
from conduit.errors import ForbiddenError, NotFoundError, missing_owner_as
from conduit.events import CommentAdded, CommentDeleted
from conduit.ports import Database
from conduit.rows import comment_from
from conduit.schemas import Comment


@retry_on_conflict
def add(database: Database, viewer: int, slug: str, body: str) -> Comment:
    """Add a comment. Raises NotFoundError for a missing article, UserGoneError if the token outlived its user."""
    article_id = id_of(slug)
    person = queries.require_user(database, viewer)
    # The article may be deleted while this waits for its lock.
    with missing_owner_as(NotFoundError("article")), database.writing(article_id) as writer:
        added = writer.first(
            writes.ADD_COMMENT,
            article_id=article_id,
            shard=ids.shard_of(article_id),
            viewer=viewer,
            body=body,
        )
        if added is None:
            raise NotFoundError("article")
        row, position = added
        writer.record(
            CommentAdded(
                article_id=article_id,
                comment_id=row.id,
                author_id=viewer,
                body=row.body,
                created_at=row.created_at,
                updated_at=row.updated_at,
                position=position or 0,
            )
        )
    return comment_from(row, person, following=False)


@retry_on_conflict
def delete(database: Database, viewer: int, slug: str, comment_id: int) -> None:
    """Delete a comment of the viewer. Raises NotFoundError, ForbiddenError and UserGoneError."""
    article_id = id_of(slug)
    queries.require_user(database, viewer)
    with database.writing(article_id) as writer:
        deleted = writer.first(writes.DELETE_COMMENT, article_id=article_id, comment_id=comment_id, viewer=viewer)
        if deleted is None:
            raise NotFoundError("article")
        if deleted.row.author_id is None:
            raise NotFoundError("comment")
        if deleted.row.author_id != viewer:
            raise ForbiddenError("comment")
        if deleted.position is None:  # another request deleted it while this one waited for its lock
            raise NotFoundError("comment")
        writer.record(CommentDeleted(article_id, comment_id, position=deleted.position))
