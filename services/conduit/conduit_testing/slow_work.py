"""Helpers of the suites about tasks, which run in this process at once or by a worker."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import bindparam, select

from conduit import articles, covers, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import bootstrap
from conduit.errors import UnavailableError
from conduit.image_structure import ImageError
from conduit.media_names import digest_of
from conduit.models import reports as table
from conduit.ports import Letter, Task
from conduit.profiles import MOST_FOLLOWED
from conduit.request_bodies import NewArticle
from conduit.schemas import Article
from conduit.services import Services
from conduit.statements import Statement
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import settings_for


class ReportState(NamedTuple):
    state: str


REPORT_STATES = Statement(
    "states of reports", select(table.c.state).where(table.c.user_id == bindparam("user_id")), ReportState
)
DRAFT = NewArticle(title="Title", description="d", body="b", tagList=[])


@dataclass
class Letters:
    """A Mail that keeps its letters, or does not answer."""

    got: list[Letter] = field(default_factory=list)
    answers: bool = True

    def deliver(self, letters: Sequence[Letter]) -> None:
        if not self.answers:
            raise UnavailableError("the mail server")
        self.got.extend(letters)

    def ids(self) -> list[str]:
        return [letter.message_id for letter in self.got]


@dataclass
class Work:
    """The services with the Tasks under test. ``settle`` returns when every task has ended."""

    services: Services
    letters: Letters
    settle: Callable[[], None]


def inline(
    database: PostgresDatabase, directory: Path, _request: pytest.FixtureRequest | None = None
) -> Iterator[Work]:
    letters = Letters()
    services = bootstrap(settings_for("postgresql://nowhere/x", media_dir=directory), database, letters)
    yield Work(services, letters, lambda: None)


def published(work: Work, author: int) -> Article:
    return articles.publish(work.services.database, work.services.tasks, author, DRAFT)


def uploaded(work: Work, author: int, slug: str, content: bytes) -> None:
    use = work.services
    with contextlib.suppress(ImageError):
        covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    work.settle()


def ask(work: Work, task: Task) -> None:
    """Enqueue and send a task, which may have been done before."""
    with work.services.database.writing(task.owner_id) as writer:
        enqueued = work.services.tasks.enqueue(writer, task)
    work.services.tasks.send(enqueued)
    work.settle()


def now(work: Work, slug: str) -> Article:
    article = DecodedReads(work.services.reads).article(articles.id_of(slug), None)
    assert article is not None
    return article


def cover_task(slug: str, content: bytes) -> covers.MakeCover:
    return covers.MakeCover(articles.id_of(slug), digest_of(content))


def follow(work: Work, follower: int, author: int) -> None:
    with work.services.database.writing(follower) as writer:
        writer.all(writes.FOLLOW, viewer=follower, followee=author, most=MOST_FOLLOWED)
