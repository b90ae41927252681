"""Writing, changing, deleting and marking articles. All of a change lies with the article's author."""

import logging

from conduit import announcements, ids, writes
from conduit.adapters.reads_sql import article_from, cover_from, followed_by
from conduit.errors import AppError, ForbiddenError, MissingOwnerError, NotFoundError, NotSignedInError
from conduit.events import ArticleChanged, ArticleDeleted, ArticleFavorited, ArticlePublished
from conduit.ports import Database, Media, Task, Tasks, Writer
from conduit.schemas import Article, ArticleChanges, NewArticle
from conduit.statements import AnyRow, Statement

log = logging.getLogger(__name__)


def id_of(slug: str) -> int:
    """The article's id at the slug's end. Raises NotFoundError."""
    article_id = ids.id_from_slug(slug)
    if article_id is None:
        raise NotFoundError("article")
    return article_id


def publish(database: Database, tasks: Tasks, viewer: int, draft: NewArticle) -> Article:
    """Store an article on its author's shard, count it, and have the followers written to.

    Raises NotSignedInError where the author is gone.
    """
    try:
        with database.writing(viewer) as writer:
            row = writer.first(
                writes.PUBLISH,
                viewer=viewer,
                shard=ids.shard_of(viewer),
                slug_text=ids.slug_text(draft.title),
                title=draft.title,
                description=draft.description,
                body=draft.body,
                tags=draft.tag_list,
            )
            if row is None:
                raise NotSignedInError(message="is of no user here")
            announcement = announcements.MailFollowers(row[12], viewer)
            tasks.enqueue(writer, announcement)
            writer.record(ArticlePublished(row[12], viewer, tuple(row[5])))
    except MissingOwnerError as error:
        raise NotSignedInError(message="is of no user here") from error
    _send_in_any_case(tasks, announcement)
    return article_from(row[:12], cover=None, following=False)


def _send_in_any_case(tasks: Tasks, announcement: Task) -> None:
    """The article is published, whatever becomes of its mail."""
    try:
        tasks.send(announcement)
    except AppError as error:
        log.warning("followers are not written to", extra={"cause": f"{announcement.key}: {error}"})
    except Exception:
        log.exception("followers are not written to", extra={"cause": announcement.key})


def change(database: Database, media: Media, viewer: int, slug: str, changes: ArticleChanges) -> Article:
    """Change what is given. A new title gives a new slug; the old one still leads here by the id at its end."""
    article_id = id_of(slug)
    title = changes.title if isinstance(changes.title, str) else None
    tags = changes.tag_list if isinstance(changes.tag_list, list) else None
    with database.writing(article_id) as writer:
        # The lock waits for another change under way, so that the statement after it sees that one's tags.
        former_tags = _lock(writer, article_id, viewer)[3]
        row = writer.first(
            writes.CHANGE_ARTICLE,
            article_id=article_id,
            shard=ids.shard_of(article_id),
            viewer=viewer,
            title=title,
            slug=ids.slug_for(title, article_id) if title else None,
            description=changes.description if isinstance(changes.description, str) else None,
            body=changes.body if isinstance(changes.body, str) else None,
            tags=tags,
        )
        assert row is not None, "it is locked by this transaction"
        writer.record(ArticleChanged(article_id, viewer, tuple(sorted({*former_tags} ^ {*row[5]}))))
    return article_from(row, cover_from(media, row[12], row[13]), following=False)


def delete(database: Database, viewer: int, slug: str) -> None:
    """Delete an article with its comments and marks, and count it no more."""
    article_id = id_of(slug)
    with database.writing(article_id) as writer:
        # The locks wait for marks and publishing under way, so that the statement after them sees and uncounts all.
        tags = _lock(writer, article_id, viewer, writes.LOCK_ARTICLE_AND_AUTHOR)[3]
        writer.all(writes.DELETE_ARTICLE, article_id=article_id, shard=ids.shard_of(article_id))
        writer.record(ArticleDeleted(article_id, viewer, tuple(tags)))


def mark(database: Database, media: Media, viewer: int, slug: str, *, favorited: bool) -> Article:
    """Make an article one of the viewer's favourites, or no longer. Doing so twice changes nothing."""
    article_id = id_of(slug)
    try:
        with database.writing(article_id) as writer:
            row = writer.first(
                writes.FAVORITE if favorited else writes.UNFAVORITE,
                article_id=article_id,
                shard=ids.shard_of(article_id),
                viewer=viewer,
            )
            if row is None:
                raise NotFoundError("article")
            writer.record(ArticleFavorited(article_id, viewer, favorited))
    except MissingOwnerError as error:  # deleted while this waited for it
        raise NotFoundError("article") from error
    following = row[0] in followed_by(database, viewer, (row[0],))
    return article_from((*row, favorited), cover_from(media, row[12], row[13]), following)


def _lock(writer: Writer, article_id: int, viewer: int, lock: Statement = writes.LOCK_ARTICLE) -> AnyRow:
    row = writer.first(lock, article_id=article_id)
    if row is None:
        raise NotFoundError("article")
    if row[0] != viewer:
        raise ForbiddenError("article")
    return row
