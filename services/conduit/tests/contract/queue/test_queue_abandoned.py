"""Pending covers and reports without a row in the outbox are failed; those with a row are not, however old.

The broker is a real one; the worker is in this process and works only when a test says so.
"""

import pytest

from conduit import articles, backlog, covers, ids, outbox, reports, tasks, writes
from conduit.errors import UnavailableError
from conduit.media_names import digest_of, upload_file
from conduit.outbox_statements import Due
from conduit.outbox_worker import Relay
from conduit.ports import Task
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.pictures import upload
from conduit_testing.queue_rows import DELIVERED_SECONDS, DRAFT, cover_task, overdue, row_of
from conduit_testing.queued import Hand
from conduit_testing.waiting import until


def _cover(hand: Hand, slug: str) -> str | None:
    """The state of an article's cover."""
    article = DecodedReads(hand.services.reads).article(articles.id_of(slug), None)
    return article.cover.state if article and article.cover else None


def _kept(hand: Hand, slug: str, content: bytes) -> bool:
    return hand.services.media.get(upload_file(digest_of(content), articles.id_of(slug))) is not None


@pytest.fixture
def without_a_row(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """A pending cover and a pending report, as an import may bring them from a stage where an app died."""
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    use.media.put(upload_file(digest_of(content), articles.id_of(slug)), content, "image/png")
    with use.database.writing(author) as writer:
        writer.all(writes.SET_COVER, article_id=articles.id_of(slug), digest=digest_of(content), state="pending")
        row = writer.first(writes.NEW_REPORT, viewer=author, shard=ids.shard_of(author), most=reports.MOST_KEPT)
    assert row is not None
    return slug, row.id


def test_pending_covers_and_reports_without_a_row_are_failed(
    hand: Hand, author: int, without_a_row: tuple[str, int]
) -> None:
    slug, report_id = without_a_row
    hand.settle()
    assert _cover(hand, slug) == "pending"
    for _ in range(2):  # as two workers might
        hand.worker.fail_abandoned()
    assert _cover(hand, slug) == "failed"
    assert not _kept(hand, slug, upload())
    assert reports.show(hand.services.database, author, report_id).state == "failed"


def test_a_task_that_may_still_be_enqueued_is_not_failed(
    hand: Hand, author: int, without_a_row: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, report_id = without_a_row
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 60)
    hand.worker.fail_abandoned()
    assert (_cover(hand, slug), _kept(hand, slug, upload())) == ("pending", True)
    assert reports.show(hand.services.database, author, report_id).state == "pending"


def test_an_upload_without_a_committed_transaction_is_deleted(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)
    use = hand.services
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    use.media.put(upload_file(digest_of(b"x"), articles.id_of(slug)), b"x", "image/png")
    hand.worker.fail_abandoned()
    assert (_cover(hand, slug), _kept(hand, slug, b"x")) == (None, False)


def test_a_task_with_a_row_is_not_failed_however_old(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    report = reports.request(use.database, use.media, use.tasks, author)
    asked: list[Task] = [cover_task(slug, content), reports.WriteReport(report.id, author)]

    def waits(state: str) -> None:
        hand.worker.fail_abandoned()
        assert {row_of(hand, task).state for task in asked} == {state}
        assert (_cover(hand, slug), _kept(hand, slug, content)) == ("pending", True)
        assert reports.show(use.database, author, report.id).state == "pending"

    waits("waiting")
    claimed = [outbox.claim(use.database, Due(task.owner_id, task.key, 0, 0), "another") for task in asked]
    waits("running")
    for one in claimed:
        assert one is not None
        with use.database.writing(one.claim.owner_id) as writer:
            outbox.fail(writer, one.claim, "once", 0)
    waits("retrying")
    overdue(hand)
    hand.settle()
    assert (_cover(hand, slug), reports.show(use.database, author, report.id).state) == ("ready", "ready")


def test_a_dead_cover_keeps_its_upload(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)

    def away(*_: object) -> None:
        raise UnavailableError("the media store")

    with monkeypatch.context() as patch:
        patch.setattr(use.media, "put", away)
        hand.settle()
    hand.worker.fail_abandoned()
    assert (_cover(hand, slug), _kept(hand, slug, content)) == ("failed", True)
    backlog.retry(use.database, "all")
    hand.settle()
    assert _cover(hand, slug) == "ready"


def test_a_relay_fails_abandoned_tasks_when_it_starts(hand: Hand, author: int, without_a_row: tuple[str, int]) -> None:
    slug, _ = without_a_row
    relay = Relay(hand.worker)
    relay.start()
    try:
        until(lambda: _cover(hand, slug) == "failed", "nothing failed it", within=DELIVERED_SECONDS)
    finally:
        relay.stop()
