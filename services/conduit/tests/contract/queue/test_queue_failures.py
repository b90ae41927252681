"""The queue's own promises: a failed task is retried, and in the end kept as a dead letter.

The broker is a real one; the worker is in this process and works only when a test says so.
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from conduit import articles, backlog, covers, outbox, outbox_worker, reports
from conduit.cover_files import DropCover
from conduit.errors import UnavailableError
from conduit.media_names import SIZES, cover_file, upload_file
from conduit.outbox_statements import Due
from conduit.outbox_worker import AttemptError
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.pictures import png, upload
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import (
    DELIVERED_SECONDS,
    DRAFT,
    ROW,
    Letters,
    cover_task,
    messages,
    overdue,
    published,
    row_of,
)
from conduit_testing.queued import Hand, sent
from conduit_testing.slow_work import REPORT_STATES
from conduit_testing.waiting import until

MAIL_ERROR = "body the mail server is unavailable; try again shortly"


def test_a_task_is_dead_after_its_attempts_and_can_be_shown_and_requeued(
    hand: Hand, author: int, letters: Letters
) -> None:
    database = hand.services.database
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    hand.settle()
    assert row_of(hand, task) == ("dead", 3, MAIL_ERROR)
    for _ in range(2):
        hand.worker.relay()
    assert list(hand.messages()) == [], "nothing retries a dead letter"
    shown = backlog.summary(database)
    assert task.key in shown
    assert MAIL_ERROR in shown
    assert "dead           1" in shown

    letters.fails = None
    assert backlog.retry(database, "no such key") is None
    assert (backlog.retry(database, task.key) or "").startswith("1 requeued")
    hand.settle()
    assert row_of(hand, task) == ("done", 1, None)
    assert len(letters.got) == 1
    assert backlog.retry(database, "all") == "There are no dead tasks."
    assert backlog.retry(database, task.key) is None
    assert "done           1" in backlog.summary(database)


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


def test_a_dead_cover_is_failed_and_made_when_it_is_requeued(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    shown = covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    assert shown.cover is not None
    assert (shown.cover.state, shown.cover.small) == ("pending", None)
    put = use.media.put

    def away(*_: object) -> None:
        raise UnavailableError("the media store")

    def state() -> str | None:
        article = DecodedReads(use.reads).article(articles.id_of(slug), None)
        return article.cover.state if article and article.cover else None

    monkeypatch.setattr(use.media, "put", away)
    hand.settle()
    assert state() == "failed"
    monkeypatch.setattr(use.media, "put", put)
    backlog.retry(use.database, "all")
    hand.settle()
    assert state() == "ready"
    task = cover_task(slug, content)
    assert use.media.get(upload_file(task.digest, task.article_id)) is None


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


def test_a_task_that_would_fail_again_is_not_retried(hand: Hand, author: int) -> None:
    use, damaged = hand.services, png(40, 40, b"\x09" * 8_000)
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=damaged)
    hand.settle()
    task = cover_task(slug, damaged)
    assert row_of(hand, task) == ("dead", 1, "cover is damaged")
    assert use.media.get(upload_file(task.digest, task.article_id)) is None


def test_a_task_that_always_kills_its_worker_is_dead_in_the_end(
    hand: Hand, author: int, letters: Letters, broker: Proxy
) -> None:
    task = published(hand, author)
    database = hand.services.database
    for death in range(3):
        assert outbox.claim(database, Due(task.owner_id, task.key, 0, death), "worker")
        outbox.requeue(database, "worker")
        assert outbox.claim(database, Due(task.owner_id, task.key, 0, death), "worker") is None, "an old message"
        assert outbox.reap(database) == [], "not at once again"
        overdue(hand)
    Hand(hand.services, broker.url, "worker").settle()
    assert row_of(hand, task) == ("dead", 4, "the worker died at the last attempt")
    assert letters.got == []


def test_a_task_with_a_bug_in_its_handler_is_retried_and_then_dead(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> list[Any]:
        raise KeyError("x")

    monkeypatch.setattr(reports, "audience", wrong)
    report = reports.request(hand.services.database, hand.services.media, hand.services.tasks, author)
    assert report.state == "pending"
    hand.settle()
    assert reports.show(hand.services.database, author, report.id).state == "failed"
    assert row_of(hand, reports.WriteReport(report.id, author)) == ("dead", 3, "KeyError('x')")


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


def test_a_task_enqueued_again_has_all_its_attempts(hand: Hand, author: int, letters: Letters) -> None:
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    hand.settle()
    assert row_of(hand, task) == ("dead", 3, MAIL_ERROR)
    with hand.services.database.writing(author) as writer:
        hand.services.tasks.enqueue(writer, task)
    assert row_of(hand, task) == ("waiting", 0, None)
    hand.settle()
    assert row_of(hand, task) == ("dead", 3, MAIL_ERROR)


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


def test_a_late_message_does_not_end_a_dead_letter_that_was_put_back(
    hand: Hand, author: int, letters: Letters
) -> None:
    """The relay's, of a worker that died at the last attempt: it would end the task without another."""
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    hand.settle()
    assert row_of(hand, task) == ("dead", 3, MAIL_ERROR)
    letters.fails = None
    backlog.retry(hand.services.database, task.key)
    hand.worker.perform(task.owner_id, task.key, 0, 3)
    assert row_of(hand, task) == ("waiting", 0, None)
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


def test_a_worker_deletes_old_results_in_small_portions(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its relay sends nothing meanwhile."""
    use = hand.services
    monkeypatch.setattr(reports, "KEPT_FOR", timedelta(0))
    use.handlers.expire()  # other tests' reports
    for _ in range(3):
        reports.request(use.database, use.media, use.tasks, author)
    hand.settle()
    monkeypatch.setattr(outbox_worker, "EXPIRED_AT_ONCE", 2)
    hand.worker.expire()
    assert len(use.database.reader(author).all(REPORT_STATES, user_id=author)) == 1
    hand.worker.expire()
    assert use.database.reader(author).all(REPORT_STATES, user_id=author) == []


def test_done_rows_are_purged_and_dead_letters_are_not(hand: Hand, author: int, letters: Letters) -> None:
    done = published(hand, author)
    hand.settle()
    letters.fails = UnavailableError("the mail server")
    dead = published(hand, author)
    hand.settle()
    hand.worker.purge()
    assert (row_of(hand, done).state, row_of(hand, dead).state) == ("done", "dead")
    overdue(hand)
    hand.worker.purge()
    assert hand.services.database.reader(author).first(ROW, key=done.key) is None
    assert row_of(hand, dead).state == "dead"
