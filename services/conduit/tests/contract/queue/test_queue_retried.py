"""The queue's own promises: a task whose attempt failed, or whose retry was lost, is done at a later one.

The broker is a real one; the worker is in this process and works only when a test says so.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from conduit import articles, covers, outbox
from conduit.cover_files import DropCover
from conduit.errors import UnavailableError
from conduit.media_names import SIZES, cover_file, upload_file
from conduit.outbox_statements import Due
from conduit.outbox_worker import AttemptError
from conduit_testing.pictures import upload
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import (
    DELIVERED_SECONDS,
    DRAFT,
    MAIL_ERROR,
    Letters,
    cover_task,
    messages,
    overdue,
    published,
    row_of,
)
from conduit_testing.queued import Hand, sent
from conduit_testing.waiting import until


def test_celery_publishes_the_retry_with_the_number_of_attempts_before_it(
    hand: Hand, author: int, letters: Letters
) -> None:
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "FIRST_SECONDS", 60)
        patch.setattr("celery.utils.time.random.randrange", lambda end: end - 1)  # 0 s would be no eta
        until(lambda: _one(hand, done), "the message did not come", within=DELIVERED_SECONDS)
    assert row_of(hand, task) == ("retrying", 1, MAIL_ERROR)
    (retry,) = hand.messages()
    assert sent(retry) == (task.owner_id, task.key, 0, 1)
    assert retry.headers["eta"] is not None
    assert outbox.reap(hand.services.database) == [], "Celery's retry is waited for"


def _one(hand: Hand, done: list[str]) -> bool:
    """Perform the task of one message, if there is one."""
    for message in hand.messages():
        hand.deliver(message)
        done.append(sent(message).key)
        return True
    return False


@pytest.mark.parametrize("state", ["retrying", "running"])
def test_a_quick_worker_can_claim_what_the_relay_has_sent(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A message that is delivered before the relay goes on must not be lost."""
    task = published(hand, author)
    messages(hand, 1)
    database = hand.services.database
    claimed = outbox.claim(database, Due(task.owner_id, task.key, 0, 0), "lost")
    assert claimed is not None
    if state == "retrying":
        with database.writing(task.owner_id) as writer:
            outbox.fail(writer, claimed.claim, "once", 0)
    overdue(hand)
    monkeypatch.setattr(hand.tasks, "publish", hand.worker.perform)
    hand.worker.relay()
    assert row_of(hand, task) == ("done", 2, None)


def test_a_retry_that_the_broker_has_lost_is_sent_by_the_relay(hand: Hand, author: int, letters: Letters) -> None:
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    done: list[str] = []
    until(lambda: _one(hand, done), "the message did not come", within=DELIVERED_SECONDS)
    assert len(messages(hand, 1)) == 1  # taken out of the queue and lost
    letters.fails = None
    overdue(hand)
    hand.settle()
    assert row_of(hand, task) == ("done", 2, None)


def test_without_the_broker_a_failed_task_is_retried_later(
    hand: Hand, author: int, letters: Letters, broker: Proxy
) -> None:
    task = published(hand, author)

    def lose_the_broker(_: Any) -> None:
        broker.cut()
        raise UnavailableError("the mail server")

    until_there = messages(hand, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letters, "deliver", lose_the_broker)
        with pytest.raises(Exception):  # noqa: B017, PT011 - what a worker would pass to Celery
            hand.worker.perform(*until_there[0])
    assert row_of(hand, task).state == "retrying"
    broker.mend()
    overdue(hand)
    hand.settle()
    assert row_of(hand, task) == ("done", 2, None)


def test_a_cover_that_is_made_after_its_article_is_deleted_leaves_no_file(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that deletes the files was done between two attempts to make them, and found none."""

    def away(*_: object) -> None:
        raise UnavailableError("the media store")

    use, content = hand.services, upload("PNG", 57, 20)
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    task = cover_task(slug, content)
    dropping = DropCover(task.article_id, task.digest)
    with monkeypatch.context() as patch:
        patch.setattr(use.media, "put", away)
        with pytest.raises(AttemptError):
            hand.worker.perform(task.owner_id, task.key, 0, 0)
    articles.delete(use.database, use.tasks, author, slug)
    hand.worker.perform(dropping.owner_id, dropping.key, 0, 0)
    assert (row_of(hand, task).state, row_of(hand, dropping).state) == ("retrying", "done")
    hand.worker.perform(task.owner_id, task.key, 0, 1)
    hand.settle()
    assert row_of(hand, task) == ("done", 2, None)
    assert [size for size in SIZES if use.media.get(cover_file(task.digest, size)) is not None] == []
    assert use.media.get(upload_file(task.digest, task.article_id)) is None


@contextlib.contextmanager
def _away(_owner_id: int) -> Iterator[None]:
    raise UnavailableError("the database")
    yield


def test_without_the_database_no_attempt_is_counted_and_the_message_stays(hand: Hand, author: int) -> None:
    task = published(hand, author)
    messages(hand, 1)
    hand.tasks.publish(task.owner_id, task.key, 0)
    until(lambda: _stays(hand), "the message did not come back", within=DELIVERED_SECONDS)
    hand.settle()
    assert row_of(hand, task) == ("done", 1, None)


def _stays(hand: Hand) -> bool:
    """Whether a message that is delivered while the database is down stays in the queue."""
    for message in hand.messages():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hand.services.database, "writing", _away)
            hand.deliver(message)
        break
    return any(True for _ in hand.messages())


def test_a_task_is_done_again_if_the_database_is_down_at_its_end(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = published(hand, author)
    writing = hand.services.database.writing

    def lose_the_database(_: Any) -> None:
        monkeypatch.setattr(hand.services.database, "writing", _away)

    with monkeypatch.context() as patch:
        patch.setattr(letters, "deliver", lose_the_database)
        done: list[str] = []
        until(lambda: _one(hand, done), "the message did not come", within=DELIVERED_SECONDS)
    monkeypatch.setattr(hand.services.database, "writing", writing)
    assert row_of(hand, task).state == "running"
    overdue(hand)
    hand.settle()
    assert row_of(hand, task)[:2] == ("done", 2)
    assert len(letters.got) == 1


def test_a_retry_of_before_does_not_use_up_the_attempts_of_a_task_that_is_enqueued_again(
    hand: Hand, author: int, letters: Letters
) -> None:
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    done: list[str] = []
    until(lambda: _one(hand, done), "the message did not come", within=DELIVERED_SECONDS)
    (retry,) = messages(hand, 1)
    assert retry.retries == 1
    with hand.services.database.writing(author) as writer:
        again = hand.services.tasks.enqueue(writer, task)
    hand.worker.perform(*retry)
    assert row_of(hand, task) == ("waiting", 0, None)
    letters.fails = None
    hand.services.tasks.send(again)
    hand.settle()
    assert row_of(hand, task) == ("done", 1, None)


def test_enqueued_again_before_its_first_attempt_a_task_keeps_its_place_in_the_queue(
    hand: Hand, author: int, letters: Letters
) -> None:
    task = published(hand, author)
    (first,) = messages(hand, 1)
    with hand.services.database.writing(author) as writer:
        assert hand.services.tasks.enqueue(writer, task).generation == first.generation
    hand.worker.perform(*first)
    assert row_of(hand, task) == ("done", 1, None)
    assert len(letters.got) == 1
