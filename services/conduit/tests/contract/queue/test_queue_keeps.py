"""The queue's own promises: no task is lost, and none takes effect twice.

The broker is a real one; the worker is in this process and works only when a test says so.
"""

from functools import partial
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client import REGISTRY

from conduit import announcements, outbox, outbox_worker, writes
from conduit.adapters import tasks_celery
from conduit.adapters.tasks_celery import CeleryTasks, celery_app
from conduit.announcements import MailFollowers
from conduit.errors import DeferredError
from conduit.outbox_statements import Due
from conduit.outbox_worker import Heartbeat, Relay
from conduit.ports import Enqueued
from conduit.profiles import MOST_FOLLOWED
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import DELIVERED_SECONDS, Letters, messages, overdue, published, row_of
from conduit_testing.queued import Hand
from conduit_testing.waiting import until

# Nothing is lost --------------------------------------------------------------------------------------------


def test_publishing_sends_a_message_that_names_the_row(hand: Hand, author: int) -> None:
    task = published(hand, author)
    assert row_of(hand, task) == ("waiting", 0, None)
    assert messages(hand, 1) == [(task.owner_id, task.key, 0, 0)]


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_without_the_broker_publishing_works_and_its_task_is_done_later(
    hand: Hand, author: int, letters: Letters, broker: Proxy, way: str
) -> None:
    getattr(broker, way)()
    written = [published(hand, author) for _ in range(3)]
    with pytest.raises(Exception):  # noqa: B017, PT011 - Celery's, its transport's or the driver's, whatever it is
        hand.worker.relay()
    assert {row_of(hand, task).state for task in written} == {"waiting"}
    broker.mend()
    hand.settle()
    assert {row_of(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == len(set(letters.got)) == 3


@pytest.mark.parametrize("full", [False, True])
def test_what_is_unsent_at_the_end_is_published_or_counted(monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    """Also while requests still send, and fill the queue."""
    tasks = CeleryTasks(celery_app("redis://127.0.0.1:1/0"))
    publishing, over = Event(), Event()

    def fail(*_: object) -> None:
        publishing.set()
        over.wait(20)
        raise ConnectionError

    monkeypatch.setattr(tasks, "publish", fail)
    monkeypatch.setattr(tasks_celery, "STOP_SECONDS", 20)
    monkeypatch.setattr(tasks_celery, "PAUSE_SECONDS", 20)
    monkeypatch.setattr(tasks, "_unsent", Queue(3))
    enqueued = Enqueued(MailFollowers(1, 1), 0)
    before = _left()
    tasks.send(enqueued)
    assert publishing.wait(20)
    for _ in range(4 if full else 2):
        tasks.send(enqueued)
    ending = Thread(target=tasks.end)
    ending.start()
    until(tasks._stopped.is_set, "it did not end", within=DELIVERED_SECONDS)
    over.set()
    ending.join(20)
    assert not ending.is_alive()
    assert _left() - before == (5 if full else 3)


def _left() -> float:
    return REGISTRY.get_sample_value("conduit_tasks_sent_total", {"result": "left to the relay"}) or 0.0


def test_a_broker_that_loses_everything_loses_no_task(hand: Hand, author: int, letters: Letters) -> None:
    written = [published(hand, author) for _ in range(3)]
    assert len(messages(hand, 3)) == 3
    hand.settle()
    assert {row_of(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == 3


def test_a_task_in_a_long_queue_is_sent_again_with_growing_intervals(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 60)
    published(hand, author)
    assert len(messages(hand, 1)) == 1
    hand.worker.relay()
    assert list(hand.messages()) == []
    overdue(hand)
    for _ in range(3):
        hand.worker.relay()
    assert len(list(hand.messages())) == 1


def test_a_task_that_has_waited_for_long_is_sent_again_after_the_longest_interval(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 60)
    monkeypatch.setattr(outbox, "LONGEST_SECONDS", 0)
    published(hand, author)
    messages(hand, 1)
    overdue(hand)
    for _ in range(3):
        hand.worker.relay()
    assert len(list(hand.messages())) == 3


def test_unsent_messages_are_sent_as_soon_as_the_broker_is_back(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 60)
    written = {published(hand, author).key for _ in range(3)}
    messages(hand, 3)
    overdue(hand)
    publish, calls = hand.tasks.publish, 0

    def away_after_one(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConnectionError
        publish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(hand.tasks, "publish", away_after_one)
        with pytest.raises(ConnectionError):
            hand.worker.relay()
    hand.worker.relay()
    assert {message.key for message in messages(hand, 3)} == written


def test_several_relays_send_each_task_once(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {published(hand, author).key for _ in range(4)}
    messages(hand, 4)
    overdue(hand)
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 60)
    monkeypatch.setattr(outbox, "BATCH", 2)
    database = hand.services.database
    reaped: list[str] = []
    for _ in range(4):
        # The second reaps before the first has sent anything.
        first, second = outbox.reap(database), outbox.reap(database)
        reaped += [due.key for due in (*first, *second)]
    assert sorted(reaped) == sorted(written)


# Nothing is done twice --------------------------------------------------------------------------------------


def test_a_message_delivered_twice_does_nothing(hand: Hand, author: int, letters: Letters) -> None:
    task = published(hand, author)
    for _ in range(3):
        hand.tasks.publish(task.owner_id, task.key, 0)
    done = 0

    def all_came() -> bool:
        nonlocal done
        done += len(hand.work())
        return done == 1 + 3

    until(all_came, "the messages did not come", within=DELIVERED_SECONDS)
    assert len(letters.got) == 1
    assert row_of(hand, task) == ("done", 1, None)


def test_a_message_without_a_row_does_no_harm(hand: Hand, author: int) -> None:
    hand.tasks.publish(author, "cover-nobody-knows", 0)
    until(hand.work, "the message did not come", within=DELIVERED_SECONDS)


def test_a_worker_holds_a_task_as_long_as_it_renews_its_lease(hand: Hand, author: int) -> None:
    task = published(hand, author)
    database = hand.services.database
    first = outbox.claim(database, Due(task.owner_id, task.key, 0, 0), "first")
    assert first is not None
    for retries in (0, 1, 5):
        assert outbox.claim(database, Due(task.owner_id, task.key, 0, retries), "second") is None
    overdue(hand)
    outbox.heartbeat(database, first.claim)
    assert outbox.reap(database) == []
    overdue(hand)
    assert outbox.reap(database) == [(task.owner_id, task.key, 0, 1)]
    assert outbox.claim(database, Due(task.owner_id, task.key, 0, 0), "second") is None, "an old message"
    second = outbox.claim(database, Due(task.owner_id, task.key, 0, 1), "second")
    assert second is not None
    with database.writing(task.owner_id) as writer:
        assert not outbox.finish(writer, first.claim), "it is the other's now"
        assert not outbox.fail(writer, first.claim, "too late", 0)
        assert not outbox.dead_letter(writer, first.claim, "too late")
        assert outbox.finish(writer, second.claim)
    assert row_of(hand, task) == ("done", 2, None)


@pytest.mark.parametrize("step", ["relay", "fail_abandoned"])
def test_a_lease_is_renewed_while_the_relay_takes_long(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    task = published(hand, author)
    messages(hand, 1)
    over = Event()
    beats: list[None] = []
    monkeypatch.setattr(outbox_worker, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "heartbeat", lambda *_: beats.append(None))
    monkeypatch.setattr(hand.worker, step, lambda: over.wait(20))
    three = partial(until, lambda: len(beats) >= 3, "no heartbeat", within=DELIVERED_SECONDS)
    monkeypatch.setattr(letters, "deliver", lambda _: three())
    threads = [Heartbeat(hand.worker), Relay(hand.worker)]
    for thread in threads:
        thread.start()
    try:
        hand.worker.perform(task.owner_id, task.key, 0, 0)
        assert threads[1].is_alive()
    finally:
        over.set()
        for thread in threads:
            thread.stop()
    assert row_of(hand, task) == ("done", 1, None)


def test_a_worker_that_has_lost_a_task_does_not_renew_the_lease_of_another(hand: Hand, author: int) -> None:
    task = published(hand, author)
    database = hand.services.database
    first = outbox.claim(database, Due(task.owner_id, task.key, 0, 0), "first")
    overdue(hand)
    second = outbox.claim(database, Due(task.owner_id, task.key, 0, 1), "second")
    assert first is not None
    assert second is not None
    overdue(hand)
    outbox.heartbeat(database, first.claim)
    assert [due.key for due in outbox.reap(database)] == [task.key]


@pytest.mark.parametrize(("worker", "enqueued_again"), [("first", False), ("second", True)])
def test_an_attempt_that_lost_its_claim_does_not_change_the_next(
    hand: Hand, author: int, worker: str, enqueued_again: bool
) -> None:
    """The next attempt has the same worker or the same number."""
    task = published(hand, author)
    database = hand.services.database
    over = outbox.claim(database, Due(task.owner_id, task.key, 0, 0), "first")
    assert over is not None
    if enqueued_again:
        with database.writing(task.owner_id) as writer:
            outbox.enqueue(writer, task)
    else:
        overdue(hand)
    again = (1, 0) if enqueued_again else (0, 1)
    following = outbox.claim(database, Due(task.owner_id, task.key, *again), worker)
    assert following is not None
    with database.writing(task.owner_id) as writer:
        assert not outbox.finish(writer, over.claim)
    overdue(hand)
    outbox.heartbeat(database, over.claim)
    assert [due.key for due in outbox.reap(database)] == [task.key]


def test_a_dead_workers_task_is_done_when_it_is_back(hand: Hand, author: int, broker: Proxy) -> None:
    task = published(hand, author)
    messages(hand, 1)
    assert outbox.claim(hand.services.database, Due(task.owner_id, task.key, 0, 0), "dead")
    Hand(hand.services, broker.url, "another").settle_once()
    assert row_of(hand, task).state == "running"
    back = Hand(hand.services, broker.url, "dead")
    back.worker.start()
    overdue(hand)
    back.settle()
    assert row_of(hand, task) == ("done", 2, None)


def test_a_task_enqueued_during_an_attempt_is_done_once_more(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = published(hand, author)
    deliver = letters.deliver

    def meanwhile(batch: Any) -> None:
        monkeypatch.setattr(letters, "deliver", deliver)
        with hand.services.database.writing(author) as writer:
            hand.services.tasks.enqueue(writer, task)
        deliver(batch)

    monkeypatch.setattr(letters, "deliver", meanwhile)
    hand.settle()
    assert len(letters.got) == 2
    assert row_of(hand, task) == ("done", 1, None)


def test_a_follow_up_task_is_done_once_however_many_attempts_the_first_takes(
    hand: Hand, sign_up: SignUp, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "CHUNK", 2)
    for follower in [sign_up(fresh()) for _ in range(4)]:
        with hand.services.database.writing(follower) as writer:
            writer.all(writes.FOLLOW, viewer=follower, followee=author, most=MOST_FOLLOWED)
    deliver, calls = letters.deliver, 0

    def deferring(batch: Any) -> None:
        nonlocal calls
        deliver(batch)
        calls += 1
        if calls <= 2:
            raise DeferredError

    monkeypatch.setattr(letters, "deliver", deferring)
    published(hand, author)
    hand.settle()
    assert len(set(letters.got)) == 5
    # Three chunks, of which two were deferred once.
    assert calls == 3 + 2
