"""The end of covers' files: those that no article shows any more are deleted.

Files are content-addressed, so several articles may show the same ones.
"""

import logging
from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct
from sqlalchemy import bindparam, select

from conduit.errors import AppError
from conduit.media_names import SIZES, cover_file
from conduit.models import articles
from conduit.ports import Database, Enqueued, Media, Task, Tasks
from conduit.rows import IdRow
from conduit.statements import Statement

log = logging.getLogger(__name__)


class DropCover(Struct, frozen=True):
    """Delete the files of a cover that an article has shown, unless another one shows it."""

    name: ClassVar[str] = "drop_cover"

    article_id: int
    digest: str

    @property
    def key(self) -> str:
        return f"{self.name}-{self.article_id}-{self.digest}"

    @property
    def owner_id(self) -> int:
        return self.article_id


_SHOWS = Statement(
    "article that shows a cover",
    select(articles.c.id).where(articles.c.cover_digest == bindparam("digest")).limit(1),
    IdRow,
)


def send(tasks: Tasks, enqueued: Enqueued | None) -> None:
    """Send the task, if there is one. What made it necessary is done even if it fails at once."""
    if enqueued is None:
        return
    try:
        tasks.send(enqueued)
    except AppError as error:
        log.warning("the files of a cover stay", extra={"cause": f"{enqueued.task.key}: {error}"})
    except Exception:
        log.exception("the files of a cover stay", extra={"cause": enqueued.task.key})


def drop(database: Database, media: Media, task: DropCover) -> Sequence[Task]:
    """Delete the files if no article shows them. Raises UnavailableError."""
    if _is_shown(database, task.digest):
        return ()
    names = [cover_file(task.digest, size) for size in SIZES]
    files = {name: content for name in names if (content := media.get(name)) is not None}
    for name in files:
        media.delete(name)
    if _is_shown(database, task.digest):
        # An article got this cover meanwhile. If its own task has not made the files yet, it will make the same ones.
        for name, content in files.items():
            media.put(name, content, "image/webp")
    return ()


def _is_shown(database: Database, digest: str) -> bool:
    return any(server.first(_SHOWS, digest=digest) is not None for server in database.readers())
