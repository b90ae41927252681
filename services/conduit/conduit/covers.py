"""Covers of articles: an upload is stored, entered into the article's row, made into three files, and then shown.

The cover is "pending" as soon as the upload is accepted. The task that makes the files sets it to "ready" or "failed".

An upload is stored before its cover becomes pending, and deleted after that ends. So the stored uploads are a list of
all covers that may be pending, and no scan of the articles is needed.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, TypeVar

from sqlalchemy import bindparam, select

from conduit import cover_files, images, memory_headroom, writes
from conduit.articles import id_of
from conduit.cover_files import CoverTask, DropCover
from conduit.errors import AppError, ForbiddenError, NotFoundError, UnavailableError
from conduit.events import ArticleChanged
from conduit.image_structure import TOO_MUCH_MEMORY, ImageError, inspect
from conduit.media_names import cover_file, digest_of, upload_file
from conduit.models import articles
from conduit.ports import Database, Enqueued, Media, Task, Tasks, Writer
from conduit.queries import followed_by, read_article
from conduit.rows import AuthorRow, CoverRow
from conduit.schemas import Article
from conduit.statements import Statement

UPLOADS = "private/uploads"
_UPLOAD = re.compile(rf"{UPLOADS}/(?P<article_id>[0-9]+)-(?P<digest>[0-9a-f]+)", re.ASCII)


class MakeCover(CoverTask, frozen=True):
    """Make the files of an upload, and show them if the article still has this cover."""

    name: ClassVar[str] = "cover"


_AUTHOR = Statement(
    "author of an article", select(articles.c.author_id).where(articles.c.id == bindparam("article_id")), AuthorRow
)
_Owned = TypeVar("_Owned", AuthorRow, CoverRow)


def check_author(database: Database, viewer: int, slug: str) -> None:
    """Raise NotFoundError or ForbiddenError before the upload is read."""
    article_id = id_of(slug)
    _own(database.reader(article_id).first(_AUTHOR, article_id=article_id), viewer)


def _own(row: _Owned | None, viewer: int) -> _Owned:
    """The row, if the article is the viewer's. Raises NotFoundError and ForbiddenError."""
    if row is None:
        raise NotFoundError("article")
    if row.author_id != viewer:
        raise ForbiddenError("article")
    return row


def replace(database: Database, media: Media, tasks: Tasks, viewer: int, slug: str, *, upload: bytes) -> Article:
    """Make ``upload`` the cover of an article. Returns the article in its current state.

    Raises ImageError for an upload that can't be a cover. If tasks run at once, that includes damage that only decoding
    finds, and the article keeps its former cover. Raises NotFoundError, ForbiddenError and UnavailableError.
    """
    article_id = id_of(slug)
    inspect(upload)
    digest = digest_of(upload)
    task = MakeCover(article_id, digest)
    # Stored before the transaction, which would otherwise hold a connection meanwhile.
    stored = upload_file(digest, article_id)
    media.put(stored, upload, "application/octet-stream")
    enqueued: Enqueued | None = None
    dropped: Enqueued | None = None
    try:
        with database.writing(article_id) as writer:
            former = _own(writer.first(writes.LOCK_COVER, article_id=article_id), viewer)
            shown = former.cover_digest, former.cover_state
            if shown != (digest, "ready"):
                if shown != (digest, "pending"):
                    writer.all(writes.SET_COVER, article_id=article_id, digest=digest, state="pending")
                    writer.record(ArticleChanged(article_id, viewer))
                enqueued = tasks.enqueue(writer, task)
                if former.cover_digest is not None and former.cover_digest != digest:
                    dropped = tasks.enqueue(writer, DropCover(article_id, former.cover_digest))
    except AppError:
        # After a lost answer the commit may have succeeded, and then the task needs the upload.
        if enqueued is None:
            media.delete(stored)
        raise
    if enqueued is None:
        media.delete(stored)
    else:
        _send(database, media, tasks, enqueued, task=task, former=former)
        cover_files.send(tasks, dropped)  # only now: had the task failed at once, the article would still show it
    return _article(database, media, article_id, viewer)


def remove(database: Database, media: Media, tasks: Tasks, viewer: int, slug: str) -> Article:
    """Remove an article's cover, if it has one, and its files, unless another article shows them."""
    article_id = id_of(slug)
    dropped: Enqueued | None = None
    with database.writing(article_id) as writer:
        row = _own(writer.first(writes.LOCK_COVER, article_id=article_id), viewer)
        if row.cover_digest is not None:
            writer.all(writes.SET_COVER, article_id=article_id, digest=None, state=None)
            dropped = tasks.enqueue(writer, DropCover(article_id, row.cover_digest))
            writer.record(ArticleChanged(article_id, viewer))
    cover_files.send(tasks, dropped)
    return _article(database, media, article_id, viewer)


def _send(
    database: Database, media: Media, tasks: Tasks, enqueued: Enqueued, *, task: MakeCover, former: CoverRow
) -> None:
    try:
        tasks.send(enqueued)
    except Exception:
        # The task ran at once and failed, which the caller is told. So the article keeps its former cover.
        with database.writing(task.article_id) as writer:
            writer.first(writes.LOCK_COVER, article_id=task.article_id)  # before the files, as a replacement does
            state = _state_again(writer, media, former)
            row = writer.first(
                writes.RESTORE_COVER,
                article_id=task.article_id,
                digest=task.digest,
                former_digest=former.cover_digest,
                former_state=state,
            )
            if row is not None:
                writer.record(ArticleChanged(task.article_id, row.author_id))
        with suppress(AppError):  # some of its files may have been made
            cover_files.drop(database, media, DropCover(task.article_id, task.digest))
        raise


def _state_again(writer: Writer, media: Media, former: CoverRow) -> str | None:
    """The state of a former cover that an article shows again."""
    if former.cover_state == "pending":
        # Its own task may still set "ready", or has found the later upload in its place.
        return "failed"
    if former.cover_state == "ready" and former.cover_digest is not None:
        # Its files may have been deleted while the article did not show them. If the store is away, nobody knows.
        writer.all(writes.LOCK_FILES, digest=former.cover_digest)
        with suppress(UnavailableError):
            if media.get(cover_file(former.cover_digest, "small")) is None:
                return "failed"
    return former.cover_state


def _article(database: Database, media: Media, article_id: int, viewer: int) -> Article:
    # From the primary: a replica may not have it yet.
    with database.writing(article_id) as writer:
        article = read_article(writer, media, article_id, viewer, partial(followed_by, database))
    if article is None:  # deleted meanwhile
        raise NotFoundError("article")
    return article


# The task ---------------------------------------------------------------------------------------------------


def make_files(database: Database, media: Media, task: MakeCover) -> Sequence[Task]:
    """Make the files of a stored upload, then set "ready" if the article still has this cover. Raises ImageError.

    If it has another one by now, or is gone, the files are deleted again.
    """
    upload = media.get(upload_file(task.digest, task.article_id))
    image = None if upload is None else inspect(upload)
    del upload  # frees megabytes before decoding
    if image is not None:
        needed = images.needed_bytes(image)
        if not memory_headroom.fits_at_rest(needed):
            raise ImageError(TOO_MUCH_MEMORY)
        memory_headroom.require(needed, "memory for an image of this size")
        files = images.covers(image)
        for size, content in files.items():
            media.put(cover_file(task.digest, size), content, "image/webp")
    # Without the upload, an earlier attempt may have made the files already.
    made = image is not None or media.get(cover_file(task.digest, "small")) is not None
    with database.writing(task.article_id) as writer:
        is_shown = _finish(writer, task, "ready" if made else "failed")
    if not is_shown:
        # Here and not in a task of its own: that may have run already, before these files were made.
        cover_files.drop(database, media, DropCover(task.article_id, task.digest))
    discard(media, task)
    return ()


def fail(writer: Writer, task: MakeCover) -> None:
    """Set the cover's state to "failed"."""
    _finish(writer, task, "failed")


def discard(media: Media, task: MakeCover) -> None:
    """Delete the upload, once the cover is made or has failed for good."""
    media.delete(upload_file(task.digest, task.article_id))


def fail_abandoned(database: Database, media: Media, older_than: float, known: Collection[str]) -> None:
    """Fail the covers whose uploads are older than ``older_than`` seconds, except for tasks whose keys are ``known``.

    Raises UnavailableError.
    """
    for name in media.left_in(UPLOADS, older_than):
        found = _UPLOAD.fullmatch(name)
        if found is None:
            continue
        task = MakeCover(int(found["article_id"]), found["digest"])
        if task.key not in known:
            with database.writing(task.article_id) as writer:
                fail(writer, task)
            discard(media, task)


def _finish(writer: Writer, task: MakeCover, state: str) -> bool:
    """Set the cover's state. Returns whether the article was still waiting for it."""
    row = writer.first(writes.FINISH_COVER, article_id=task.article_id, digest=task.digest, state=state)
    if row is not None:
        writer.record(ArticleChanged(task.article_id, row.author_id))
    return row is not None
