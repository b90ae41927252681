"""What only a queue has to promise: nothing is lost, and nothing is done twice in effect.

The broker is a real one; the worker is in this process and works when it is told to.
"""

from typing import Any

import pytest

from conduit import announcements, task_rows, tasks, writes
from conduit.errors import DeferredError
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.proxy import Proxy
from conduit_testing.queue_rows import Letters, messages, overdue, published, row_of, until
from conduit_testing.queued import Hand

# Nothing is lost --------------------------------------------------------------------------------------------


def test_who_publishes_tells_the_workers_and_a_message_is_where_the_row_is(hand: Hand, author: int) -> None:
    task = published(hand, author)
    assert row_of(hand, task) == ("waiting", 0, None)
    assert messages(hand, 1) == [(tasks.owner_of(task), task.key)]


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_with_the_broker_away_publishing_works_and_its_work_is_done_later(
    hand: Hand, author: int, letters: Letters, broker: Proxy, way: str
) -> None:
    getattr(broker, way)()
    written = [published(hand, author) for _ in range(3)]
    with pytest.raises(Exception):  # noqa: B017, PT011 - Celery's, its transport's or the driver's, whatever it is
        hand.worker.look_after()
    assert {row_of(hand, task)[0] for task in written} == {"waiting"}
    broker.mend()
    hand.settle()
    assert {row_of(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == len(set(letters.got)) == 3


def test_a_broker_that_forgets_everything_loses_nothing(hand: Hand, author: int, letters: Letters) -> None:
    written = [published(hand, author) for _ in range(3)]
    assert len(messages(hand, 3)) == 3  # taken out, and done by nobody
    hand.settle()
    assert {row_of(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == 3


def test_what_waits_in_a_long_queue_is_not_sent_again_all_the_time(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_rows, "FIRST_SECONDS", 60)
    published(hand, author)
    assert len(messages(hand, 1)) == 1
    hand.worker.look_after()
    assert list(hand.messages()) == []
    overdue(hand)
    for _ in range(3):
        hand.worker.look_after()
    assert len(list(hand.messages())) == 1


def test_several_who_look_after_the_rows_send_each_once(hand: Hand, author: int, broker: Proxy) -> None:
    written = {published(hand, author).key for _ in range(4)}
    messages(hand, 4)
    database = hand.services.database
    got: list[str] = []

    def publish(_owner_id: int, key: str) -> None:
        got.append(key)
        if len(got) == 1:  # in the middle of the first sweep, another one
            assert task_rows.sweep(database, lambda _, key: got.append(key)) <= 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_rows, "FIRST_SECONDS", 60)
        patch.setattr(task_rows, "AT_ONCE", 2)
        for _ in range(4):
            task_rows.sweep(database, publish)
    assert sorted(got) == sorted(written)


# Nothing is done twice --------------------------------------------------------------------------------------


def test_a_message_that_comes_again_finds_nothing_to_do(hand: Hand, author: int, letters: Letters) -> None:
    task = published(hand, author)
    for _ in range(3):
        hand.tasks.publish(tasks.owner_of(task), task.key)
    for message in messages(hand, 1 + 3):
        hand.worker.do(*message)
    assert len(letters.got) == 1
    assert row_of(hand, task) == ("done", 1, None)


def test_a_task_of_which_nothing_is_known_is_no_harm(hand: Hand, author: int) -> None:
    hand.tasks.publish(author, "cover-nobody-knows")
    until(hand.work, "the message did not come")


def test_only_one_box_is_at_a_task_and_it_holds_it_as_long_as_it_lives(hand: Hand, author: int) -> None:
    task = published(hand, author)
    database, owner_id = hand.services.database, tasks.owner_of(task)
    first = task_rows.take(database, owner_id, task.key, "first")
    assert first is not None
    assert task_rows.take(database, owner_id, task.key, "second") is None
    overdue(hand)
    task_rows.hold(database, first)
    assert task_rows.sweep(database, hand.tasks.publish) == 0
    overdue(hand)
    assert task_rows.sweep(database, hand.tasks.publish) == 1
    second = task_rows.take(database, owner_id, task.key, "second")
    assert second is not None
    assert second.tries == 2
    with database.writing(owner_id) as writer:
        assert task_rows.close(writer, first, "done", 0) is None, "it is the other's by now"
        assert task_rows.close(writer, second, "done", 0) == "done"


def test_what_a_box_was_at_when_it_died_is_taken_up_when_it_is_back(hand: Hand, author: int, broker: Proxy) -> None:
    task = published(hand, author)
    messages(hand, 1)
    database = hand.services.database
    assert task_rows.take(database, tasks.owner_of(task), task.key, "box")
    Hand(hand.services, broker.url, "another").settle_once()
    assert row_of(hand, task)[0] == "running"
    Hand(hand.services, broker.url, "box").settle()
    assert row_of(hand, task) == ("done", 2, None)


def test_asked_for_again_while_it_is_done_it_is_done_once_more(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = published(hand, author)
    deliver = letters.deliver

    def meanwhile(batch: Any) -> None:
        monkeypatch.setattr(letters, "deliver", deliver)
        with hand.services.database.writing(author) as writer:
            hand.services.tasks.note(writer, task)
        deliver(batch)

    monkeypatch.setattr(letters, "deliver", meanwhile)
    hand.settle()
    assert len(letters.got) == 2
    assert row_of(hand, task)[0] == "done"


def test_what_follows_is_done_once_however_often_the_first_is_tried(
    hand: Hand, sign_up: SignUp, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "CHUNK", 2)
    for follower in [sign_up(fresh()) for _ in range(4)]:
        with hand.services.database.writing(follower) as writer:
            writer.all(writes.FOLLOW, viewer=follower, followee=author)
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
