"""Covers of articles: an upload is kept, noted in the article's row, made into three files, and then shown.

The article waits ("pending") from the moment it is accepted; the task that makes the files says "ready", or "failed".
How long lies between is the business of whoever does the task.

An upload is kept from before its article waits until after it does no longer. So the kept uploads are also the list of
the articles that can be waiting: to find those, nobody reads through all articles.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from conduit import memory_headroom, writes
from conduit.articles import id_of
from conduit.errors import AppError, ForbiddenError, NotFoundError
from conduit.events import ArticleChanged
from conduit.image_structure import inspect
from conduit.media_names import cover_file, digest_of, upload_file
from conduit.models import articles
from conduit.ports import Database, Media, Task, Tasks
from conduit.queries import read_article
from conduit.schemas import Article
from conduit.statements import AnyRow, Statement

if TYPE_CHECKING:
    from conduit.services import Services

TASK = "cover"
UPLOADS = "private/uploads"
_KEPT = re.compile(rf"{UPLOADS}/([0-9]+)-([0-9a-f]+)", re.ASCII)

_AUTHOR = Statement(
    "author of an article", select(articles.c.author_id).where(articles.c.id == bindparam("article_id"))
)


def check_author(database: Database, viewer: int, slug: str) -> None:
    """Raise NotFoundError or ForbiddenError before anybody waits for the upload."""
    article_id = id_of(slug)
    _check(database.reader(article_id).first(_AUTHOR, article_id=article_id), viewer)


def replace(database: Database, media: Media, tasks: Tasks, viewer: int, slug: str, *, upload: bytes) -> Article:
    """Give an article the cover that ``upload`` shows; the article as it then is.

    Raises ImageError for what can be no cover; where the files are made at once that includes what only decoding shows,
    and the article has the cover that it had before. Raises NotFoundError, ForbiddenError and UnavailableError.
    """
    article_id = id_of(slug)
    inspect(upload)
    digest = digest_of(upload)
    task = Task(TASK, {"article_id": article_id, "digest": digest}, _key(article_id, digest))
    # Before the transaction, which would hold a connection while the file is written.
    kept = upload_file(digest, article_id)
    media.put(kept, upload, "application/octet-stream")
    waits = False
    try:
        with database.writing(article_id) as writer:
            _, *former = _check(writer.first(writes.LOCK_COVER, article_id=article_id), viewer)
            shown_already = former == [digest, "ready"]
            if not shown_already:
                writer.all(writes.SET_COVER, article_id=article_id, digest=digest, state="pending")
                tasks.note(writer, task)
                writer.record(ArticleChanged(article_id, viewer))
                waits = True
    except AppError:
        # A commit that nobody answered may have been one, and then the article waits for what is kept.
        if not waits:
            media.delete(kept)
        raise
    if shown_already:
        media.delete(kept)
    else:
        _send(database, tasks, task, former)
    return _article(database, media, article_id, viewer)


def remove(database: Database, media: Media, viewer: int, slug: str) -> Article:
    """Take an article's cover away, if it has one. Its files stay: another article may show the same."""
    article_id = id_of(slug)
    with database.writing(article_id) as writer:
        _, digest, _ = _check(writer.first(writes.LOCK_COVER, article_id=article_id), viewer)
        if digest is not None:
            writer.all(writes.SET_COVER, article_id=article_id, digest=None, state=None)
            writer.record(ArticleChanged(article_id, viewer))
    return _article(database, media, article_id, viewer)


def _key(article_id: int, digest: str) -> str:
    return f"{TASK}-{article_id}-{digest}"


def _check(row: AnyRow | None, viewer: int) -> AnyRow:
    """The row, whose first value is the article's author."""
    if row is None:
        raise NotFoundError("article")
    if row[0] != viewer:
        raise ForbiddenError("article")
    return row


def _send(database: Database, tasks: Tasks, task: Task, former: Sequence[str | None]) -> None:
    article_id, digest = int(task.arguments["article_id"]), task.arguments["digest"]
    try:
        tasks.send(task)
    except Exception:
        # Given up at once, and its caller is told: then the article need not show it.
        former_digest, state = former
        if state == "pending":
            # Whoever is at the one before says "ready" yet, or has been here already and found another in its place.
            state = "failed"
        with database.writing(article_id) as writer:
            row = writer.first(
                writes.RESTORE_COVER,
                article_id=article_id,
                digest=digest,
                former_digest=former_digest,
                former_state=state,
            )
            if row is not None:
                writer.record(ArticleChanged(article_id, row[0]))
        raise


def _article(database: Database, media: Media, article_id: int, viewer: int) -> Article:
    # From the primary: a replica may not have it yet.
    with database.writing(article_id) as writer:
        article = read_article(database, media, writer, article_id, viewer)
    if article is None:  # deleted meanwhile
        raise NotFoundError("article")
    return article


# The task ---------------------------------------------------------------------------------------------------


def make(services: "Services", arguments: Mapping[str, Any]) -> Sequence[Task]:
    """Make the files of a kept upload, then say "ready" if the article still waits for it. Raises ImageError."""
    # Loaded here: a box that only passes uploads on need not hold Pillow in its memory.
    from conduit import images  # noqa: PLC0415

    article_id, digest = arguments["article_id"], arguments["digest"]
    upload = services.media.get(upload_file(digest, article_id))
    image = None if upload is None else inspect(upload)
    del upload  # megabytes, which decoding can use
    if image is not None:
        with services.passwords.room():
            memory_headroom.require(images.needed_bytes(image), "memory for an image of this size")
            files = images.covers(image)
        for size, content in files.items():
            services.media.put(cover_file(digest, size), content, "image/webp")
    # Done before, and the upload gone with it? Then the files are there.
    there = image is not None or services.media.get(cover_file(digest, "small")) is not None
    _finish(services, article_id, digest, "ready" if there else "failed")
    return ()


def give_up(services: "Services", arguments: Mapping[str, Any]) -> None:
    """Nobody makes the files any more."""
    _finish(services, arguments["article_id"], arguments["digest"], "failed")


def set_aside(services: "Services", arguments: Mapping[str, Any]) -> None:
    """Nobody makes the files, unless somebody is told to after all: the upload stays for that."""
    _say(services, arguments["article_id"], arguments["digest"], "failed")


def give_up_left(services: "Services", older_than: float, known: Collection[str] = ()) -> None:
    """Nobody makes the files any more of uploads kept for so many seconds or longer, unless their task's key is among
    the ``known``. Raises UnavailableError.
    """
    for name in services.media.left_in(UPLOADS, older_than):
        found = _KEPT.fullmatch(name)
        if found and _key(int(found[1]), found[2]) not in known:
            _finish(services, int(found[1]), found[2], "failed")


def _finish(services: "Services", article_id: int, digest: str, state: str) -> None:
    _say(services, article_id, digest, state)
    services.media.delete(upload_file(digest, article_id))


def _say(services: "Services", article_id: int, digest: str, state: str) -> None:
    with services.database.writing(article_id) as writer:
        row = writer.first(writes.FINISH_COVER, article_id=article_id, digest=digest, state=state)
        if row is not None:
            writer.record(ArticleChanged(article_id, row[0]))
