"""What only a queue has to promise: what fails is tried again, and in the end kept and told.

The broker is a real one; the worker is in this process and works when it is told to.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from conduit import articles, backlog, covers, reports, task_rows, tasks
from conduit.errors import UnavailableError
from conduit.media_names import digest_of, upload_file
from conduit.ports import Task
from conduit_testing.pictures import png, upload
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import DRAFT, ROW, Letters, cover_key, overdue, published, row_of
from conduit_testing.queued import Hand


def test_what_can_not_be_done_is_dead_after_its_tries_and_told_and_can_be_tried_again(
    hand: Hand, author: int, letters: Letters
) -> None:
    database = hand.services.database
    letters.fails = UnavailableError("the mail server")
    task = published(hand, author)
    hand.settle()
    error = "body the mail server is unavailable; try again shortly"
    assert row_of(hand, task) == ("dead", 3, error)
    for _ in range(2):
        hand.worker.look_after()
    assert row_of(hand, task)[0] == "dead", "nobody tries it any more"
    told = backlog.summary(database)
    assert task.key in told
    assert error in told
    assert "dead           1" in told

    letters.fails = None
    assert backlog.retry(database, "no such key") is None
    assert (backlog.retry(database, task.key) or "").startswith("1 put back")
    hand.settle()
    assert row_of(hand, task) == ("done", 1, None)
    assert len(letters.got) == 1
    assert backlog.retry(database, "all") == "There is nothing dead."
    assert backlog.retry(database, task.key) is None
    assert "done           1" in backlog.summary(database)


def test_a_cover_that_can_not_be_made_has_failed_and_is_made_when_it_is_tried_again(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    shown = covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    assert shown.cover is not None
    assert (shown.cover.state, shown.cover.small) == ("pending", None)
    put = use.media.put

    def away(*_: object) -> None:
        raise UnavailableError("the place for files")

    def state() -> str | None:
        article = use.reads.article(articles.id_of(slug), None)
        return article.cover.state if article and article.cover else None

    monkeypatch.setattr(use.media, "put", away)
    hand.settle()
    assert state() == "failed"
    monkeypatch.setattr(use.media, "put", put)
    backlog.retry(use.database, "all")
    hand.settle()
    assert state() == "ready"
    assert use.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


def test_what_would_be_so_again_is_not_tried_again(hand: Hand, author: int) -> None:
    use, damaged = hand.services, png(40, 40, b"\x09" * 8_000)
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=damaged)
    hand.settle()
    task = Task(covers.TASK, {"article_id": articles.id_of(slug)}, cover_key(slug, damaged))
    assert row_of(hand, task) == ("dead", 1, "cover is damaged")


def test_a_task_that_kills_whoever_is_at_it_is_dead_before_it_kills_for_ever(
    hand: Hand, author: int, letters: Letters, broker: Proxy
) -> None:
    task = published(hand, author)
    database = hand.services.database
    for death in range(1, 4):
        assert task_rows.take(database, tasks.owner_of(task), task.key, "box")
        task_rows.release(database, "box")
        if death > 1:
            assert task_rows.take(database, tasks.owner_of(task), task.key, "box") is None, "not at once again"
            overdue(hand)
            task_rows.sweep(database, lambda *_: None)
    overdue(hand)
    Hand(hand.services, broker.url, "box").settle()
    assert row_of(hand, task) == ("dead", 4, "AbandonedError()")
    assert letters.got == []


def test_a_mistake_in_a_task_is_tried_again_and_then_dead(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> list[Any]:
        raise KeyError("x")

    monkeypatch.setattr(reports, "audience", wrong)
    report = reports.request(hand.services.database, hand.services.tasks, author)
    assert report.state == "pending"
    hand.settle()
    assert reports.show(hand.services.database, author, report.id).state == "failed"
    task = Task(reports.TASK, {"report_id": report.id}, f"{reports.TASK}-{report.id}")
    assert row_of(hand, task) == ("dead", 3, "KeyError('x')")


def test_with_the_database_away_a_task_stays_and_is_done_later(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = published(hand, author)
    writing = hand.services.database.writing

    @contextlib.contextmanager
    def away(_owner_id: int) -> Iterator[None]:
        raise UnavailableError("the database")
        yield

    def until_then(batch: Any) -> None:
        monkeypatch.setattr(hand.services.database, "writing", away)

    with monkeypatch.context() as patch:
        patch.setattr(letters, "deliver", until_then)
        with pytest.raises(UnavailableError):
            hand.settle()
    monkeypatch.setattr(hand.services.database, "writing", writing)
    assert row_of(hand, task)[0] == "running"
    overdue(hand)
    hand.settle()
    assert row_of(hand, task)[:2] == ("done", 2)


def test_what_is_done_is_forgotten_in_the_end_and_what_is_dead_is_not(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = published(hand, author)
    hand.settle()
    letters.fails = UnavailableError("the mail server")
    dead = published(hand, author)
    hand.settle()
    hand.worker.forget()
    assert (row_of(hand, done)[0], row_of(hand, dead)[0]) == ("done", "dead")
    overdue(hand)
    hand.worker.forget()
    assert hand.services.database.reader(author).first(ROW, key=done.key) is None
    assert row_of(hand, dead)[0] == "dead"
