"""What only a queue has to promise: nothing is lost, nothing is done twice in effect, and what fails is kept and told.

The broker is a real one; the worker is in this process and works when it is told to.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from conduit import articles, covers, ids, mail, queue, reports, task_rows, tasks, worker, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import bootstrap
from conduit.errors import UnavailableError
from conduit.media_names import digest_of, upload_file
from conduit.models import tasks as table
from conduit.ports import Letter, Task
from conduit.schemas import NewArticle
from conduit.statements import Statement
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp, settings_for
from conduit_testing.pictures import png, upload
from conduit_testing.proxy import Proxy
from conduit_testing.queued import Hand, clear

NewRedis = Callable[[], str]

_ROW = Statement(
    "row of a task", select(table.c.state, table.c.tries, table.c.error).where(table.c.key == bindparam("key"))
)
_OVERDUE = Statement(
    "make all due", update(table).where(table.c.due_at.is_not(None)).values(due_at=table.c.noted_at).returning(table)
)
DRAFT = NewArticle("Title", "d", "b", [])


class Letters:
    """A Mail that keeps what it is given; ``fails`` is what it raises instead."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.fails: Exception | None = None

    def deliver(self, letters: Any) -> None:
        if self.fails is not None:
            raise self.fails
        self.got.extend(letter.message_id for letter in letters if isinstance(letter, Letter))


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def broker(new_redis: NewRedis) -> Iterator[Proxy]:
    """The way to an empty broker."""
    proxy = Proxy(new_redis())
    yield proxy
    proxy.close()


@pytest.fixture
def hand(
    database: PostgresDatabase, broker: Proxy, letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hand]:
    """A worker by hand, who waits for no try, and for whom what is not begun is due again at once."""
    monkeypatch.setattr(worker, "FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(worker, "TRIES", 3)
    monkeypatch.setattr(task_rows, "FIRST_SECONDS", 0)
    clear(database)
    settings = settings_for("postgresql://nowhere/x", media_dir=tmp_path, broker_url=broker.url)
    services = bootstrap(settings, database, letters)
    yield Hand(services, broker.url)
    services.after_requests()


@pytest.fixture
def author(sign_up: SignUp, database: PostgresDatabase) -> int:
    """Who has one follower."""
    author = sign_up(fresh())
    follower = sign_up(fresh())
    with database.writing(follower) as writer:
        writer.all(writes.FOLLOW, viewer=follower, followee=author)
    return author


def _published(hand: Hand, author: int) -> Task:
    """The mail task of a new article."""
    article = articles.publish(hand.services.database, hand.services.tasks, author, DRAFT)
    return mail.to_followers_of(author, articles.id_of(article.slug))


def _row(hand: Hand, task: Task) -> tuple[Any, ...]:
    """State, tries and error."""
    row = hand.services.database.reader(tasks.owner_of(task)).first(_ROW, key=task.key)
    assert row is not None
    return row


def _overdue(hand: Hand) -> None:
    for server in hand.services.database.readers():
        server.all(_OVERDUE)


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _messages(hand: Hand, number: int) -> list[tuple[int, str]]:
    """So many messages, once the thread that sends them has."""
    got: list[tuple[int, str]] = []

    def there() -> bool:
        got.extend(hand.messages())
        return len(got) >= number

    _until(there, f"{number} messages did not come")
    return got


# Nothing is lost --------------------------------------------------------------------------------------------


def test_who_publishes_tells_the_workers_and_a_message_is_where_the_row_is(hand: Hand, author: int) -> None:
    task = _published(hand, author)
    assert _row(hand, task) == ("waiting", 0, None)
    assert _messages(hand, 1) == [(tasks.owner_of(task), task.key)]


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_with_the_broker_away_publishing_works_and_its_work_is_done_later(
    hand: Hand, author: int, letters: Letters, broker: Proxy, way: str
) -> None:
    getattr(broker, way)()
    written = [_published(hand, author) for _ in range(3)]
    with pytest.raises(Exception):  # noqa: B017, PT011 - Celery's, its transport's or the driver's, whatever it is
        hand.worker.look_after()
    assert {_row(hand, task)[0] for task in written} == {"waiting"}
    broker.mend()
    hand.settle()
    assert {_row(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == len(set(letters.got)) == 3


def test_a_broker_that_forgets_everything_loses_nothing(hand: Hand, author: int, letters: Letters) -> None:
    written = [_published(hand, author) for _ in range(3)]
    assert len(_messages(hand, 3)) == 3  # taken out, and done by nobody
    hand.settle()
    assert {_row(hand, task) for task in written} == {("done", 1, None)}
    assert len(letters.got) == 3


def test_what_waits_in_a_long_queue_is_not_sent_again_all_the_time(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_rows, "FIRST_SECONDS", 60)
    _published(hand, author)
    assert len(_messages(hand, 1)) == 1
    hand.worker.look_after()
    assert list(hand.messages()) == []
    _overdue(hand)
    for _ in range(3):
        hand.worker.look_after()
    assert len(list(hand.messages())) == 1


def test_several_who_look_after_the_rows_send_each_once(hand: Hand, author: int, broker: Proxy) -> None:
    written = {_published(hand, author).key for _ in range(4)}
    _messages(hand, 4)
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
    task = _published(hand, author)
    for _ in range(3):
        hand.tasks.publish(tasks.owner_of(task), task.key)
    for message in _messages(hand, 1 + 3):
        hand.worker.do(*message)
    assert len(letters.got) == 1
    assert _row(hand, task) == ("done", 1, None)


def test_a_task_of_which_nothing_is_known_is_no_harm(hand: Hand, author: int) -> None:
    hand.tasks.publish(author, "cover-nobody-knows")
    _until(hand.work, "the message did not come")


def test_only_one_box_is_at_a_task_and_it_holds_it_as_long_as_it_lives(hand: Hand, author: int) -> None:
    task = _published(hand, author)
    database, owner_id = hand.services.database, tasks.owner_of(task)
    first = task_rows.take(database, owner_id, task.key, "first")
    assert first is not None
    assert task_rows.take(database, owner_id, task.key, "second") is None
    _overdue(hand)
    task_rows.hold(database, first)
    assert task_rows.sweep(database, hand.tasks.publish) == 0
    _overdue(hand)
    assert task_rows.sweep(database, hand.tasks.publish) == 1
    second = task_rows.take(database, owner_id, task.key, "second")
    assert second is not None
    assert second.tries == 2
    with database.writing(owner_id) as writer:
        assert task_rows.close(writer, first, "done", 0) is None, "it is the other's by now"
        assert task_rows.close(writer, second, "done", 0) == "done"


def test_what_a_box_was_at_when_it_died_is_taken_up_when_it_is_back(hand: Hand, author: int, broker: Proxy) -> None:
    task = _published(hand, author)
    _messages(hand, 1)
    database = hand.services.database
    assert task_rows.take(database, tasks.owner_of(task), task.key, "box")
    Hand(hand.services, broker.url, "another").settle_once()
    assert _row(hand, task)[0] == "running"
    Hand(hand.services, broker.url, "box").settle()
    assert _row(hand, task) == ("done", 2, None)


def test_asked_for_again_while_it_is_done_it_is_done_once_more(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _published(hand, author)
    deliver = letters.deliver

    def meanwhile(batch: Any) -> None:
        monkeypatch.setattr(letters, "deliver", deliver)
        with hand.services.database.writing(author) as writer:
            hand.services.tasks.note(writer, task)
        deliver(batch)

    monkeypatch.setattr(letters, "deliver", meanwhile)
    hand.settle()
    assert len(letters.got) == 2
    assert _row(hand, task)[0] == "done"


def test_what_follows_is_done_once_however_often_the_first_is_tried(
    hand: Hand, sign_up: SignUp, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "CHUNK", 2)
    for follower in [sign_up(fresh()) for _ in range(4)]:
        with hand.services.database.writing(follower) as writer:
            writer.all(writes.FOLLOW, viewer=follower, followee=author)
    deliver, calls = letters.deliver, 0

    def deferring(batch: Any) -> None:
        nonlocal calls
        deliver(batch)
        calls += 1
        if calls <= 2:
            raise mail.DeferredError

    monkeypatch.setattr(letters, "deliver", deferring)
    _published(hand, author)
    hand.settle()
    assert len(set(letters.got)) == 5
    # Three chunks, of which two were deferred once.
    assert calls == 3 + 2


# What fails is kept and told --------------------------------------------------------------------------------


def test_what_can_not_be_done_is_dead_after_its_tries_and_told_and_can_be_tried_again(
    hand: Hand, author: int, letters: Letters
) -> None:
    database = hand.services.database
    letters.fails = UnavailableError("the mail server")
    task = _published(hand, author)
    hand.settle()
    error = "body the mail server is unavailable; try again shortly"
    assert _row(hand, task) == ("dead", 3, error)
    for _ in range(2):
        hand.worker.look_after()
    assert _row(hand, task)[0] == "dead", "nobody tries it any more"
    told = queue.told(database)
    assert task.key in told
    assert error in told
    assert "dead           1" in told

    letters.fails = None
    assert queue.retried(database, "no such key") is None
    assert (queue.retried(database, task.key) or "").startswith("1 put back")
    hand.settle()
    assert _row(hand, task) == ("done", 1, None)
    assert len(letters.got) == 1
    assert queue.retried(database, "all") == "There is nothing dead."
    assert queue.retried(database, task.key) is None
    assert "done           1" in queue.told(database)


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
    queue.retried(use.database, "all")
    hand.settle()
    assert state() == "ready"
    assert use.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


def test_what_would_be_so_again_is_not_tried_again(hand: Hand, author: int) -> None:
    use, damaged = hand.services, png(40, 40, b"\x09" * 8_000)
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=damaged)
    hand.settle()
    task = Task(covers.TASK, {"article_id": articles.id_of(slug)}, _key(slug, damaged))
    assert _row(hand, task) == ("dead", 1, "cover is damaged")


def _key(slug: str, content: bytes) -> str:
    return f"{covers.TASK}-{articles.id_of(slug)}-{digest_of(content)}"


def test_a_task_that_kills_whoever_is_at_it_is_dead_before_it_kills_for_ever(
    hand: Hand, author: int, letters: Letters, broker: Proxy
) -> None:
    task = _published(hand, author)
    for _ in range(3):
        assert task_rows.take(hand.services.database, tasks.owner_of(task), task.key, "box")
        task_rows.release(hand.services.database, "box")
    _overdue(hand)
    Hand(hand.services, broker.url, "box").settle()
    assert _row(hand, task) == ("dead", 4, "AbandonedError()")
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
    assert _row(hand, task) == ("dead", 3, "KeyError('x')")


def test_with_the_database_away_a_task_stays_and_is_done_later(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _published(hand, author)
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
    assert _row(hand, task)[0] == "running"
    _overdue(hand)
    hand.settle()
    assert _row(hand, task)[:2] == ("done", 2)


def test_what_is_done_is_forgotten_in_the_end_and_what_is_dead_is_not(
    hand: Hand, author: int, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = _published(hand, author)
    hand.settle()
    letters.fails = UnavailableError("the mail server")
    dead = _published(hand, author)
    hand.settle()
    hand.worker.forget()
    assert (_row(hand, done)[0], _row(hand, dead)[0]) == ("done", "dead")
    _overdue(hand)
    hand.worker.forget()
    assert hand.services.database.reader(author).first(_ROW, key=done.key) is None
    assert _row(hand, dead)[0] == "dead"


# What has no row is given up -------------------------------------------------------------------------------


def _cover(hand: Hand, slug: str) -> str | None:
    """The state of an article's cover."""
    article = hand.services.reads.article(articles.id_of(slug), None)
    return article.cover.state if article and article.cover else None


def _kept(hand: Hand, slug: str, content: bytes) -> bool:
    return hand.services.media.get(upload_file(digest_of(content), articles.id_of(slug))) is not None


@pytest.fixture
def without_a_row(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """As it is after an import from a stage where a box died at them: an article, and a report, that wait."""
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    use.media.put(upload_file(digest_of(content), articles.id_of(slug)), content, "image/png")
    with use.database.writing(author) as writer:
        writer.all(writes.SET_COVER, article_id=articles.id_of(slug), digest=digest_of(content), state="pending")
        row = writer.first(writes.NEW_REPORT, viewer=author, shard=ids.shard_of(author))
    assert row is not None
    return slug, row[0]


def test_what_waits_without_a_row_is_given_up(hand: Hand, author: int, without_a_row: tuple[str, int]) -> None:
    slug, report_id = without_a_row
    hand.settle()
    assert _cover(hand, slug) == "pending"
    for _ in range(2):  # as two workers may
        hand.worker.give_up_left()
    assert _cover(hand, slug) == "failed"
    assert not _kept(hand, slug, upload())
    assert reports.show(hand.services.database, author, report_id).state == "failed"


def test_what_may_be_noted_yet_is_not_given_up(
    hand: Hand, author: int, without_a_row: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, report_id = without_a_row
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 60)
    hand.worker.give_up_left()
    assert (_cover(hand, slug), _kept(hand, slug, upload())) == ("pending", True)
    assert reports.show(hand.services.database, author, report_id).state == "pending"


def test_an_upload_whose_transaction_never_came_is_deleted(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 0)
    use = hand.services
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    use.media.put(upload_file(digest_of(b"x"), articles.id_of(slug)), b"x", "image/png")
    hand.worker.give_up_left()
    assert (_cover(hand, slug), _kept(hand, slug, b"x")) == (None, False)


def test_what_has_a_row_is_not_given_up_however_long_it_takes(
    hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    report = reports.request(use.database, use.tasks, author)
    cover = Task(covers.TASK, {"article_id": articles.id_of(slug)}, _key(slug, content))
    asked = [cover, Task(reports.TASK, {"report_id": report.id}, f"{reports.TASK}-{report.id}")]

    def waits(state: str) -> None:
        hand.worker.give_up_left()
        assert {_row(hand, task)[0] for task in asked} == {state}
        assert (_cover(hand, slug), _kept(hand, slug, content)) == ("pending", True)
        assert reports.show(use.database, author, report.id).state == "pending"

    waits("waiting")
    taken = [task_rows.take(use.database, tasks.owner_of(task), task.key, "another") for task in asked]
    waits("running")
    for one in taken:
        assert one is not None
        with use.database.writing(tasks.owner_of(one.task)) as writer:
            task_rows.close(writer, one, "failed", 0, "once")
    waits("failed")
    hand.settle()
    assert (_cover(hand, slug), reports.show(use.database, author, report.id).state) == ("ready", "ready")


def test_a_dead_cover_keeps_its_upload(hand: Hand, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_SECONDS", 0)
    use, content = hand.services, upload()
    slug = articles.publish(use.database, use.tasks, author, DRAFT).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)

    def away(*_: object) -> None:
        raise UnavailableError("the place for files")

    with monkeypatch.context() as patch:
        patch.setattr(use.media, "put", away)
        hand.settle()
    hand.worker.give_up_left()
    assert (_cover(hand, slug), _kept(hand, slug, content)) == ("failed", True)
    queue.retried(use.database, "all")
    hand.settle()
    assert _cover(hand, slug) == "ready"


def test_a_worker_looks_for_what_is_left_at_its_start(hand: Hand, author: int, without_a_row: tuple[str, int]) -> None:
    slug, _ = without_a_row
    sweeper = worker.Sweeper(hand.worker)
    sweeper.start()
    try:
        _until(lambda: _cover(hand, slug) == "failed", "nobody gave it up")
    finally:
        sweeper.end()
