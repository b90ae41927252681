"""The end of covers' files: those that no article shows any more are deleted.

Files are content-addressed, so several articles may show the same ones.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

from msgspec import Struct
from sqlalchemy import bindparam, select

from conduit import outbox, writes
from conduit.errors import AppError
from conduit.media_names import SIZES, cover_file
from conduit.models import articles
from conduit.ports import Database, Enqueued, Media, Task, Tasks
from conduit.rows import IdRow
from conduit.statements import Statement

log = logging.getLogger(__name__)


class CoverTask(Struct, frozen=True):
    """Work on the files of one cover of an article."""

    name: ClassVar[str]

    article_id: int
    digest: str

    @property
    def key(self) -> str:
        return f"{self.name}-{self.article_id}-{self.digest}"

    @property
    def owner_id(self) -> int:
        return self.article_id


class DropCover(CoverTask, frozen=True):
    """Delete the files of a cover that an article has shown, unless another one shows it."""

    name: ClassVar[str] = "drop_cover"


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
    """Delete the files if no article shows them. Raises UnavailableError.

    Any server may have an article that shows them, so the lock is held on each. An article that gets this cover
    meanwhile waits until the files are deleted, and its own task then makes them again.
    """
    with ExitStack() as transactions:
        writers = [transactions.enter_context(database.writing(owner_id)) for owner_id in outbox.primaries(database)]
        for writer in writers:
            writer.all(writes.LOCK_FILES, digest=task.digest)
        if not any(writer.first(_SHOWS, digest=task.digest) for writer in writers):
            # The small one first: while it is there, so are the others.
            for size in SIZES:
                media.delete(cover_file(task.digest, size))
    return ()
