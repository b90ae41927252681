"""Comments live with the article's author; who wrote one is an id, whose profile is another owner's."""

from conduit import ids, writes
from conduit.adapters.reads_sql import profile_from
from conduit.adapters.reads_statements import PEOPLE
from conduit.articles import id_of
from conduit.errors import ForbiddenError, MissingOwnerError, NotFoundError, NotSignedInError
from conduit.events import CommentsChanged
from conduit.ports import Database
from conduit.schemas import Comment


def add(database: Database, viewer: int, slug: str, body: str) -> Comment:
    """Add a comment. Raises NotFoundError without the article, NotSignedInError without the writer."""
    article_id = id_of(slug)
    people = database.reader(viewer).all(PEOPLE, ids=[viewer])
    if not people:
        raise NotSignedInError(message="is of no user here")
    try:
        with database.writing(article_id) as writer:
            row = writer.first(
                writes.ADD_COMMENT,
                article_id=article_id,
                shard=ids.shard_of(article_id),
                viewer=viewer,
                body=body,
            )
            if row is None:
                raise NotFoundError("article")
            writer.record(CommentsChanged(article_id))
    except MissingOwnerError as error:  # deleted while this waited for it
        raise NotFoundError("article") from error
    return Comment(row[0], row[1], row[2], body, profile_from(people[0], following=False))


def delete(database: Database, viewer: int, slug: str, comment_id: int) -> None:
    """Delete one's own comment. Raises NotFoundError and ForbiddenError."""
    article_id = id_of(slug)
    with database.writing(article_id) as writer:
        row = writer.first(writes.DELETE_COMMENT, article_id=article_id, comment_id=comment_id, viewer=viewer)
        if row is None:
            raise NotFoundError("article")
        if row[1] is None:
            raise NotFoundError("comment")
        if row[1] != viewer:
            raise ForbiddenError("comment")
        writer.record(CommentsChanged(article_id))
