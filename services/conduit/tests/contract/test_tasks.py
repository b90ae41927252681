"""What becomes of slow work, whoever does it: done at once, or once the work that is waiting is settled.

Nothing here knows whether a task raised in its sender's face or failed out of sight; only what is so afterwards.
"""

import contextlib
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import bindparam, select

from conduit import articles, covers, ids, mail, reports, task_rows, tasks, worker, writes
from conduit.adapters import tasks_inline
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import Services, bootstrap
from conduit.errors import AppError, BusyError, UnavailableError
from conduit.image_structure import ImageError
from conduit.media_names import cover_file, digest_of, upload_file
from conduit.models import reports as table
from conduit.ports import Database, Letter, Task, Writer
from conduit.schemas import Article, NewArticle
from conduit.statements import Statement
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp, settings_for
from conduit_testing.pictures import png, upload
from conduit_testing.queued import Hand, clear

_STATES = Statement("states", select(table.c.state).where(table.c.user_id == bindparam("user_id")))
DRAFT = NewArticle("Title", "d", "b", [])


@dataclass
class Letters:
    """A Mail that keeps what it is given, or does not answer."""

    got: list[Letter] = field(default_factory=list)
    answers: bool = True

    def deliver(self, letters: Sequence[Letter]) -> None:
        if not self.answers:
            raise UnavailableError("the mail server")
        self.got.extend(letters)

    def ids(self) -> list[str]:
        return [letter.message_id for letter in self.got]


@dataclass
class Work:
    """The services, whose Tasks is what the suite is about. ``settle`` returns when nothing is waiting any more."""

    services: Services
    letters: Letters
    settle: Callable[[], None]


def _inline(
    database: PostgresDatabase, directory: Path, _request: pytest.FixtureRequest | None = None
) -> Iterator[Work]:
    letters = Letters()
    services = bootstrap(settings_for("postgresql://nowhere/x", media_dir=directory), database, letters)
    yield Work(services, letters, lambda: None)


def _queued(database: PostgresDatabase, directory: Path, request: pytest.FixtureRequest) -> Iterator[Work]:
    letters, broker_url = Letters(), request.getfixturevalue("new_redis")()
    settings = settings_for("postgresql://nowhere/x", media_dir=directory, broker_url=broker_url)
    clear(database)
    services = bootstrap(settings, database, letters)
    with pytest.MonkeyPatch.context() as patch:
        # No try is waited for, and there are few of them.
        patch.setattr(worker, "FIRST_PAUSE_SECONDS", 0)
        patch.setattr(worker, "TRIES", 3)
        patch.setattr(task_rows, "FIRST_SECONDS", 0)
        yield Work(services, letters, Hand(services, broker_url).settle)
    services.after_requests()


_WORKERS: dict[str, Callable[[PostgresDatabase, Path, pytest.FixtureRequest], Iterator[Work]]] = {
    "inline": _inline,
    "queued": _queued,
}


@pytest.fixture(params=_WORKERS.values(), ids=list(_WORKERS))
def work(request: pytest.FixtureRequest, database: PostgresDatabase, tmp_path: Path) -> Iterator[Work]:
    yield from request.param(database, tmp_path, request)


@pytest.fixture
def author(sign_up: SignUp) -> int:
    return sign_up(fresh())


def _published(work: Work, author: int) -> Article:
    return articles.publish(work.services.database, work.services.tasks, author, DRAFT)


def _uploaded(work: Work, author: int, slug: str, content: bytes) -> None:
    use = work.services
    with contextlib.suppress(ImageError):
        covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    work.settle()


def _ask(work: Work, task: Task) -> None:
    """For what has been asked for before, maybe."""
    with work.services.database.writing(tasks.owner_of(task)) as writer:
        work.services.tasks.note(writer, task)
    work.services.tasks.send(task)
    work.settle()


def _now(work: Work, slug: str) -> Article:
    article = work.services.reads.article(articles.id_of(slug), None)
    assert article is not None
    return article


def _task(slug: str, content: bytes) -> Task:
    article_id, digest = articles.id_of(slug), digest_of(content)
    return Task(covers.TASK, {"article_id": article_id, "digest": digest}, f"cover-{article_id}-{digest}")


# Covers -----------------------------------------------------------------------------------------------------


def test_an_upload_is_made_into_a_cover_and_not_kept(work: Work, author: int) -> None:
    slug, content = _published(work, author).slug, upload()
    _uploaded(work, author, slug, content)
    cover = _now(work, slug).cover
    assert cover is not None
    assert cover.state == "ready"
    digest = digest_of(content)
    for size in ("small", "medium", "large"):
        assert work.services.media.get(cover_file(digest, size))
        assert getattr(cover, size) == work.services.media.url(cover_file(digest, size))
    assert work.services.media.get(upload_file(digest, articles.id_of(slug))) is None


def test_work_done_twice_is_done_once(work: Work, author: int) -> None:
    slug, content = _published(work, author).slug, upload()
    _uploaded(work, author, slug, content)
    before = _now(work, slug)
    _ask(work, _task(slug, content))
    assert _now(work, slug) == before


def test_what_turns_out_to_be_damaged_is_not_waited_for(work: Work, author: int) -> None:
    slug, content = _published(work, author).slug, png(40, 40, b"\x09" * 8_000)
    _uploaded(work, author, slug, content)
    cover = _now(work, slug).cover
    assert cover is None or (cover.state, cover.small) == ("failed", None)
    assert work.services.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


def test_only_the_upload_that_the_article_waits_for_becomes_its_cover(work: Work, author: int) -> None:
    slug, first, second = _published(work, author).slug, upload("PNG"), upload("JPEG")
    article_id = articles.id_of(slug)
    _uploaded(work, author, slug, second)
    before = _now(work, slug)
    work.services.media.put(upload_file(digest_of(first), article_id), first, "image/png")
    _ask(work, _task(slug, first))
    assert _now(work, slug) == before


def test_an_upload_that_is_lost_is_not_waited_for(work: Work, author: int) -> None:
    slug, content = _published(work, author).slug, upload("PNG", 31, 17)
    with work.services.database.writing(author) as writer:
        arguments = {"article_id": articles.id_of(slug), "digest": digest_of(content)}
        writer.all(writes.SET_COVER, **arguments, state="pending")
        work.services.tasks.note(writer, _task(slug, content))
    work.services.tasks.send(_task(slug, content))
    work.settle()
    cover = _now(work, slug).cover
    assert cover is not None
    assert cover.state == "failed"


def test_a_task_about_what_is_gone_changes_nothing(work: Work, author: int, sign_up: SignUp) -> None:
    slug = _published(work, author).slug
    follower = sign_up(fresh())
    _follow(work, follower, author)
    articles.delete(work.services.database, author, slug)
    _ask(work, _task(slug, upload()))
    _ask(work, mail.to_followers_of(author, articles.id_of(slug)))
    assert work.services.reads.article(articles.id_of(slug), None) is None
    assert work.letters.got == []


def test_what_is_noted_in_a_transaction_that_fails_is_never_done(work: Work, author: int, sign_up: SignUp) -> None:
    slug = _published(work, author).slug
    work.settle()
    _follow(work, sign_up(fresh()), author)

    def fail() -> None:
        with work.services.database.writing(author) as writer:
            work.services.tasks.note(writer, mail.to_followers_of(author, articles.id_of(slug)))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    work.settle()
    assert work.letters.got == []


# Mail -------------------------------------------------------------------------------------------------------


def _follow(work: Work, follower: int, author: int) -> None:
    with work.services.database.writing(follower) as writer:
        writer.all(writes.FOLLOW, viewer=follower, followee=author)


def test_every_follower_is_written_to_once_and_nobody_else(
    work: Work, author: int, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "CHUNK", 3)
    followers = [sign_up(fresh()) for _ in range(8)]
    _follow(work, author, followers[0])
    for follower in followers[1:]:
        _follow(work, follower, author)
    slug = _published(work, author).slug
    work.settle()
    article_id = articles.id_of(slug)
    expected = {f"<article-{article_id}.reader-{follower}@conduit.test>" for follower in followers[1:]}
    assert len(work.letters.got) == len(expected)
    assert set(work.letters.ids()) == expected
    assert all(slug.encode() in letter.content for letter in work.letters.got)


def test_mail_sent_again_is_the_same_mail(work: Work, author: int, sign_up: SignUp) -> None:
    _follow(work, sign_up(fresh()), author)
    slug = _published(work, author).slug
    work.settle()
    _ask(work, mail.to_followers_of(author, articles.id_of(slug)))
    assert len(work.letters.got) == 2
    assert len(set(work.letters.ids())) == 1
    assert len(set(work.letters.got)) == 1


def test_an_article_is_published_whatever_becomes_of_its_mail(work: Work, author: int, sign_up: SignUp) -> None:
    _follow(work, sign_up(fresh()), author)
    work.letters.answers = False
    slug = _published(work, author).slug
    assert _now(work, slug).title == "Title"


# Reports ----------------------------------------------------------------------------------------------------


def test_a_report_is_made(work: Work, author: int, sign_up: SignUp) -> None:
    name = fresh()
    _follow(work, sign_up(name), author)
    asked = reports.request(work.services.database, work.services.tasks, author)
    work.settle()
    report = reports.show(work.services.database, author, asked.id)
    assert (report.state, report.url) == ("ready", f"/api/user/reports/{report.id}/audience.csv")
    assert ids.shard_of(report.id) == ids.shard_of(author)
    content = reports.file(work.services.database, work.services.media, author, report.id)
    assert f"{name},follower,," in content.decode()


def test_a_long_report_is_read_in_pages(
    work: Work, author: int, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [fresh() for _ in range(5)]
    people = [sign_up(name) for name in names]
    slugs = [_published(work, author).slug for _ in range(3)]
    for person in people:
        _follow(work, person, author)
        for slug in slugs:
            articles.mark(work.services.database, work.services.media, person, slug, favorited=True)
    whole = list(reports.audience(work.services.database, author))
    assert len(whole) == 5 + 15
    for page in (1, 2, 5, 15):
        monkeypatch.setattr(reports, "PAGE", page)
        assert list(reports.audience(work.services.database, author)) == whole


def test_a_report_that_can_not_be_made_is_not_waited_for(
    work: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnavailableError("the place for files")

    monkeypatch.setattr(work.services.media, "put", away)
    with contextlib.suppress(AppError):
        reports.request(work.services.database, work.services.tasks, author)
    work.settle()
    states = work.services.database.reader(author).all(_STATES, user_id=author)
    assert states == [("failed",)]


# Inside the request alone -----------------------------------------------------------------------------------


def test_after_its_time_nothing_more_is_begun_inside_a_request(
    database: PostgresDatabase, author: int, sign_up: SignUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "CHUNK", 2)
    settings = settings_for("postgresql://nowhere/x", media_dir=tmp_path, task_seconds=1e-6)
    letters = Letters()
    work = Work(bootstrap(settings, database, letters), letters, lambda: None)
    for _ in range(5):
        _follow(work, sign_up(fresh()), author)
    dropped = REGISTRY.get_sample_value("conduit_tasks_dropped_total", {"task": "mail"}) or 0.0
    _published(work, author)
    assert len(letters.got) == 2
    assert REGISTRY.get_sample_value("conduit_tasks_dropped_total", {"task": "mail"}) == dropped + 1


def test_one_report_is_made_at_a_time_and_nobody_waits_for_a_turn(
    database: PostgresDatabase, sign_up: SignUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(_inline(database, tmp_path))
    first, second = sign_up(fresh()), sign_up(fresh())
    begun, go_on = threading.Event(), threading.Event()
    audience = reports.audience

    def slowly(database: Database, author_id: int) -> Iterator[tuple[str, str, str, str]]:
        begun.set()
        assert go_on.wait(10)
        return audience(database, author_id)

    monkeypatch.setattr(reports, "audience", slowly)
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(reports.request, database, work.services.tasks, first)
        assert begun.wait(10)
        try:
            with pytest.raises(BusyError, match="too many reports are under way"):
                reports.request(database, work.services.tasks, second)
            # Nothing else has to wait for it.
            assert _published(work, second).title == "Title"
        finally:
            go_on.set()
        assert under_way.result().state == "ready"
    assert database.reader(second).all(_STATES, user_id=second) == [("failed",)]
    assert reports.request(database, work.services.tasks, second).state == "ready"


def test_a_report_takes_little_more_memory_than_its_file() -> None:
    rows = ((f"person-{number:09}", "follower", "", "2026-03-01T12:00:00.123Z") for number in range(20_000))
    tracemalloc.start()
    try:
        content = reports.as_csv(rows)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content.count(b"\r\n") == 20_001
    assert most < 1.5 * len(content)


def _interrupted(work: Work, author: int, content: bytes) -> str:
    """An article whose cover, and its author whose report, wait for a process that is no more."""
    slug = _published(work, author).slug
    work.services.media.put(upload_file(digest_of(content), articles.id_of(slug)), content, "image/png")
    with work.services.database.writing(author) as writer:
        writer.all(writes.SET_COVER, article_id=articles.id_of(slug), digest=digest_of(content), state="pending")
        writer.all(writes.NEW_REPORT, viewer=author, shard=ids.shard_of(author))
    return slug


def test_what_a_process_that_died_had_under_way_is_given_up_by_the_next(
    database: PostgresDatabase, author: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(_inline(database, tmp_path))
    ready, content = _published(work, author).slug, upload()
    _uploaded(work, author, ready, content)
    reports.request(work.services.database, work.services.tasks, author)
    # It had said so already, and died before it deleted what it kept.
    work.services.media.put(upload_file(digest_of(content), articles.id_of(ready)), content, "image/png")
    slug = _interrupted(work, author, content)
    (tmp_path / "private/uploads/not-one-of-ours").write_bytes(b"")

    monkeypatch.setattr(tasks_inline, "LONGEST_SECONDS", 0)
    _started(database, tmp_path)
    cover, other = _now(work, slug).cover, _now(work, ready).cover
    assert cover is not None
    assert other is not None
    assert (cover.state, other.state) == ("failed", "ready")
    assert sorted(database.reader(author).all(_STATES, user_id=author)) == [("failed",), ("ready",)]
    assert [path.name for path in (tmp_path / "private/uploads").iterdir()] == ["not-one-of-ours"]
    _uploaded(work, author, slug, content)
    assert _now(work, slug).cover == other


def _started(database: PostgresDatabase, directory: Path) -> None:
    """Another box starts, and stops at once."""
    services = next(_inline(database, directory)).services
    services.before_requests()
    services.after_requests()


def test_what_another_box_may_be_at_is_left_to_it(database: PostgresDatabase, author: int, tmp_path: Path) -> None:
    work = next(_inline(database, tmp_path))
    slug = _interrupted(work, author, upload())
    _started(database, tmp_path)
    cover = _now(work, slug).cover
    assert cover is not None
    assert cover.state == "pending"
    assert database.reader(author).all(_STATES, user_id=author) == [("pending",)]
    assert len(work.services.media.left_in("private/uploads", 0)) == 1


def test_what_was_too_young_at_the_start_is_given_up_later(
    database: PostgresDatabase, author: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(_inline(database, tmp_path))
    slug = _interrupted(work, author, upload())
    monkeypatch.setattr(tasks_inline, "LONGEST_SECONDS", 0.5)
    work.services.before_requests()
    deadline = time.monotonic() + 10
    while database.reader(author).all(_STATES, user_id=author) != [("failed",)]:
        assert time.monotonic() < deadline, "nobody looked again"
        time.sleep(0.05)
    cover = _now(work, slug).cover
    assert cover is not None
    assert cover.state == "failed"
    work.services.after_requests()


def test_what_is_committed_unheard_keeps_its_upload(work: Work, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes the cover, or gives it up at the next start, knows of it by that."""
    database, slug, content = work.services.database, _published(work, author).slug, upload("PNG", 33, 18)
    writing = database.writing

    @contextlib.contextmanager
    def unheard(owner_id: int) -> Iterator[Writer]:
        with writing(owner_id) as writer:
            yield writer
        raise UnavailableError("the database")

    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", unheard)
        with pytest.raises(UnavailableError):
            covers.replace(database, work.services.media, work.services.tasks, author, slug, upload=content)
    assert work.services.media.get(upload_file(digest_of(content), articles.id_of(slug))) == content


# All --------------------------------------------------------------------------------------------------------


def test_a_task_can_be_written_down_and_is_known_by_name() -> None:
    for task in (_task("x-7", b""), mail.to_followers_of(1, 2, 3), Task(reports.TASK, {"report_id": 1}, "r-1")):
        assert msgspec.json.decode(msgspec.json.encode(task.arguments)) == task.arguments
        assert task.name in tasks.HANDLERS
    assert mail.to_followers_of(1, 2, 3).key != mail.to_followers_of(1, 2, 4).key
