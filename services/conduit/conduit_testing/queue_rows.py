"""What the suites about the queue share: an article's mail as a task, its row, the messages, and a Mail."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, select, update

from conduit import announcements, articles, covers, tasks
from conduit.media_names import digest_of
from conduit.models import tasks as table
from conduit.ports import Letter, Task
from conduit.request_bodies import NewArticle
from conduit.statements import Statement
from conduit_testing.queued import Hand

ROW = Statement(
    "row of a task", select(table.c.state, table.c.tries, table.c.error).where(table.c.key == bindparam("key"))
)
_OVERDUE = Statement(
    "make all due", update(table).where(table.c.due_at.is_not(None)).values(due_at=table.c.noted_at).returning(table)
)
DRAFT = NewArticle(title="Title", description="d", body="b", tagList=[])


class Letters:
    """A Mail that keeps what it is given; ``fails`` is what it raises instead."""

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
    return announcements.to_followers_of(author, articles.id_of(article.slug))


def cover_key(slug: str, content: bytes) -> str:
    return f"{covers.TASK}-{articles.id_of(slug)}-{digest_of(content)}"


def row_of(hand: Hand, task: Task) -> tuple[Any, ...]:
    """State, tries and error."""
    row = hand.services.database.reader(tasks.owner_of(task)).first(ROW, key=task.key)
    assert row is not None
    return row


def overdue(hand: Hand) -> None:
    for server in hand.services.database.readers():
        server.all(_OVERDUE)


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def messages(hand: Hand, number: int) -> list[tuple[int, str]]:
    """So many messages, once the thread that sends them has."""
    got: list[tuple[int, str]] = []

    def there() -> bool:
        got.extend(hand.messages())
        return len(got) >= number

    until(there, f"{number} messages did not come")
    return got
