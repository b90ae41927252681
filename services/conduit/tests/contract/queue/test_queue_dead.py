"""The queue's own promises: a task that fails for good is a dead letter, which is kept, shown and put back.

The broker is a real one; the worker is in this process and works only when a test says so.
"""

from datetime import timedelta
from typing import Any

import pytest

from conduit import articles, backlog, covers, outbox, outbox_worker, reports
from conduit.errors import UnavailableError
from conduit.media_names import upload_file
from conduit.outbox_statements import Due
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.pictures import png, upload
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import DRAFT, MAIL_ERROR, ROW, Letters, cover_task, overdue, published, row_of
from conduit_testing.queued import Hand
from conduit_testing.slow_work import REPORT_STATES


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
