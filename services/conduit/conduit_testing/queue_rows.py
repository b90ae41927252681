"""Helpers of the suites about the queue: an article's mail as a task, its row, the messages, and a Mail."""

from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from conduit import articles, covers
from conduit.announcements import MailFollowers
from conduit.media_names import digest_of
from conduit.models import outbox as table
from conduit.ports import Letter, Task
from conduit.request_bodies import NewArticle
from conduit.statements import Statement
from conduit_testing.queued import Hand, Sent, sent
from conduit_testing.waiting import until

DRAFT = NewArticle(title="Title", description="d", body="b", tagList=[])


class TaskRow(NamedTuple):
    state: str
    attempts: int
    error: str | None


class _KeyRow(NamedTuple):
    key: str


ROW = Statement(
    "row of a task",
    select(table.c.state, table.c.attempts, table.c.error).where(table.c.key == bindparam("key")),
    TaskRow,
)
_OVERDUE = Statement(
    "make all due",
    update(table).where(table.c.due_at.is_not(None)).values(due_at=table.c.created_at).returning(table.c.key),
    _KeyRow,
)


# Of a task whose Mail raised UnavailableError("the mail server").
MAIL_ERROR = "body the mail server is unavailable; try again shortly"


class Letters:
    """A Mail that keeps its letters, or raises ``fails``."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.fails: Exception | None = None

    def deliver(self, letters: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.got.extend(letter.message_id for letter in letters if isinstance(letter, Letter))


def published(hand: Hand, author: int) -> Task:
    """The mail task of a new article."""
    article = articles.publish(hand.services.database, hand.services.tasks, author, DRAFT)
    return MailFollowers(articles.id_of(article.slug), author)


# Through the broker and back, on a busy machine.
DELIVERED_SECONDS = 20.0


def cover_task(slug: str, content: bytes) -> covers.MakeCover:
    return covers.MakeCover(articles.id_of(slug), digest_of(content))


def row_of(hand: Hand, task: Task) -> TaskRow:
    row = hand.services.database.reader(task.owner_id).first(ROW, key=task.key)
    assert row is not None
    return row


def overdue(hand: Hand) -> None:
    """Make every row due, as if time had passed: leases have ended, and messages are lost."""
    for server in hand.services.database.readers():
        server.all(_OVERDUE)


def messages(hand: Hand, number: int) -> list[Sent]:
    """Take so many messages from the broker, once the thread has published them."""
    got: list[Sent] = []

    def there() -> bool:
        got.extend(map(sent, hand.messages()))
        return len(got) >= number

    until(there, f"{number} messages did not come", within=DELIVERED_SECONDS)
    return got
