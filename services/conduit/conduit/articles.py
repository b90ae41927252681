"""Publishing, changing, deleting and favouriting articles. All rows of a change are on the author's shard."""

import logging

from conduit import announcements, cover_files, ids, writes
from conduit.conflicts import retry_on_conflict
from conduit.cover_files import DropCover
from conduit.errors import AppError, ForbiddenError, NotFoundError, UserGoneError, missing_owner_as
from conduit.events import ArticleChanged, ArticleDeleted, ArticleFavorited, ArticlePublished
from conduit.ports import Database, Enqueued, Media, Tasks, Writer
from conduit.queries import followed_by, require_user
from conduit.request_bodies import ArticleChanges, NewArticle
from conduit.rows import LockedArticleRow, article_of, cover_from
from conduit.schemas import Article
from conduit.statements import Statement

log = logging.getLogger(__name__)


def id_of(slug: str) -> int:
    """The article's id at the slug's end. Raises NotFoundError."""
    article_id = ids.id_from_slug(slug)
    if article_id is None:
        raise NotFoundError("article")
    return article_id


@retry_on_conflict
def publish(database: Database, tasks: Tasks, viewer: int, draft: NewArticle) -> Article:
    """Store an article on its author's shard, count it, and enqueue mail to the followers.

    Raises UserGoneError if the token outlived its user.
    """
    with missing_owner_as(UserGoneError()), database.writing(viewer) as writer:
        published = writer.first(
            writes.PUBLISH,
            viewer=viewer,
            shard=ids.shard_of(viewer),
            slug_text=ids.slug_text(draft.title),
            title=draft.title,
            description=draft.description,
            body=draft.body,
            tags=draft.tag_list,
        )
        if published is None:
            raise UserGoneError
        row, position = published
        announcement = tasks.enqueue(writer, announcements.MailFollowers(row.id, viewer))
        writer.record(ArticlePublished(row.id, viewer, tuple(row.tag_list), position=position or 0))
    _send_in_any_case(tasks, announcement)
    return article_of(row, cover=None, following=False)


def _send_in_any_case(tasks: Tasks, announcement: Enqueued) -> None:
    """The article is published even if its mail fails."""
    try:
        tasks.send(announcement)
    except AppError as error:
        log.warning("mail to followers failed", extra={"cause": f"{announcement.task.key}: {error}"})
    except Exception:
        log.exception("mail to followers failed", extra={"cause": announcement.task.key})


@retry_on_conflict
def change(database: Database, media: Media, viewer: int, slug: str, changes: ArticleChanges) -> Article:
    """Change the given fields. A new title gives a new slug; the old slug still works, by the id at its end.

    What the article has already changes nothing, so ``updated_at`` stays. Raises NotFoundError and ForbiddenError.
    """
    article_id = id_of(slug)
    given = changes.model_dump(exclude_unset=True)
    title = given.get("title")
    with database.writing(article_id) as writer:
        # The lock waits for concurrent changes, so that the next statement sees their tags.
        former_tags = _lock(writer, article_id, viewer).tag_list
        changed = writer.first(
            writes.CHANGE_ARTICLE,
            article_id=article_id,
            shard=ids.shard_of(article_id),
            viewer=viewer,
            title=title,
            slug=ids.slug_for(title, article_id) if title else None,
            description=given.get("description"),
            body=given.get("body"),
            tags=given.get("tag_list"),
        )
        assert changed is not None, "it is locked by this transaction"
        row, position = changed
        if position is not None:  # it may have been so already
            changed_tags = tuple(sorted({*former_tags} ^ {*row.tag_list}))
            writer.record(ArticleChanged(article_id, viewer, changed_tags, position=position))
    return article_of(row, cover_from(media, row.cover_digest, row.cover_state), following=False)


@retry_on_conflict
def delete(database: Database, tasks: Tasks, viewer: int, slug: str) -> None:
    """Delete an article with its comments, favourites and cover, and take it out of the counters."""
    article_id = id_of(slug)
    dropped: Enqueued | None = None
    with database.writing(article_id) as writer:
        # The locks wait for concurrent favourites and publications, so that the next statement sees them all.
        row = _lock(writer, article_id, viewer, writes.LOCK_TO_DELETE)
        deleted = writer.first(writes.DELETE_ARTICLE, article_id=article_id, shard=ids.shard_of(article_id))
        assert deleted is not None, "it is locked by this transaction, like its author"
        if row.cover_digest is not None:
            dropped = tasks.enqueue(writer, DropCover(article_id, row.cover_digest))
        writer.record(ArticleDeleted(article_id, viewer, tuple(row.tag_list), position=deleted.position or 0))
    cover_files.send(tasks, dropped)


@retry_on_conflict
def mark(database: Database, media: Media, viewer: int, slug: str, *, favorited: bool) -> Article:
    """Make an article a favourite of the viewer, or undo that; idempotent. Raises NotFoundError and UserGoneError."""
    article_id = id_of(slug)
    require_user(database, viewer)
    # The article may be deleted while this waits for its lock.
    with missing_owner_as(NotFoundError("article")), database.writing(article_id) as writer:
        marked = writer.first(
            writes.FAVORITE if favorited else writes.UNFAVORITE,
            article_id=article_id,
            shard=ids.shard_of(article_id),
            viewer=viewer,
        )
        if marked is None:
            raise NotFoundError("article")
        row, position = marked
        if position is not None:  # it may have been so already
            writer.record(
                ArticleFavorited(
                    article_id=article_id,
                    author_id=row.author_id,
                    user_id=viewer,
                    favorited=favorited,
                    favorites_count=row.favorites_count,
                    position=position,
                )
            )
    following = row.author_id in followed_by(database, viewer, (row.author_id,))
    cover = cover_from(media, row.cover_digest, row.cover_state)
    return article_of(row, cover, following)


def _lock(
    writer: Writer, article_id: int, viewer: int, lock: Statement[LockedArticleRow] = writes.LOCK_ARTICLE
) -> LockedArticleRow:
    """The viewer's own article. Raises NotFoundError and ForbiddenError."""
    row = writer.first(lock, article_id=article_id)
    if row is None:
        raise NotFoundError("article")
    if row.author_id != viewer:
        raise ForbiddenError("article")
    return row
