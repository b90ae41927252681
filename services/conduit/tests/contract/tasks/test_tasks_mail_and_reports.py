"""Tasks that send mail and write reports, with every Tasks adapter: at once, or after ``settle``.

The tests do not depend on whether a failed task raises in its sender. They check the state afterwards.
"""

import contextlib
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from email.headerregistry import Address

import msgspec
import pytest

from conduit import announcements, articles, ids, reports
from conduit.announcements import MailFollowers, MailFrom
from conduit.errors import AppError, DeferredError, InvalidError, NotFoundError, UnavailableError
from conduit.media_names import report_file
from conduit.ports import Letter
from conduit.tasks import IncompleteError
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.pictures import upload
from conduit_testing.slow_work import REPORT_STATES, Work, ask, cover_task, follow, now, published
from conduit_testing.waiting import until

# Mail -------------------------------------------------------------------------------------------------------


def test_every_follower_gets_one_mail_and_nobody_else(
    work: Work, author: int, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "CHUNK", 3)
    followers = [sign_up(fresh()) for _ in range(8)]
    follow(work, author, followers[0])
    for follower in followers[1:]:
        follow(work, follower, author)
    slug = published(work, author).slug
    work.settle()
    article_id = articles.id_of(slug)
    expected = {f"<article-{article_id}.reader-{follower}@conduit.test>" for follower in followers[1:]}
    assert len(work.letters.got) == len(expected)
    assert set(work.letters.ids()) == expected
    assert all(slug.encode() in letter.content for letter in work.letters.got)


def test_followers_of_the_next_chunk_need_not_wait_for_mail_that_the_server_takes_later(
    work: Work, author: int, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later:
        def deliver(self, _: Sequence[Letter], /) -> None:
            raise DeferredError

    monkeypatch.setattr(announcements, "CHUNK", 2)
    followers = sorted(sign_up(fresh()) for _ in range(3))
    for follower in followers:
        follow(work, follower, author)
    slug = published(work, author).slug
    task = MailFollowers(articles.id_of(slug), author)
    mail_from = MailFrom(Address("Conduit", "news", "conduit.test"), "http://127.0.0.1")
    for before, follows in ((0, [followers[1]]), (followers[1], [])):
        task = MailFollowers(task.article_id, author, after=before)
        with pytest.raises(IncompleteError) as left:
            announcements.mail_followers(work.services.database, Later(), mail_from, task)
        assert str(left.value).startswith("the mail server")
        assert list(left.value.follows) == [MailFollowers(task.article_id, author, after=after) for after in follows]


def test_mail_that_is_sent_again_has_the_same_message_id(work: Work, author: int, sign_up: SignUp) -> None:
    follow(work, sign_up(fresh()), author)
    slug = published(work, author).slug
    work.settle()
    ask(work, MailFollowers(articles.id_of(slug), author))
    assert len(work.letters.got) == 2
    assert len(set(work.letters.ids())) == 1
    assert len(set(work.letters.got)) == 1


def test_an_article_is_published_even_if_its_mail_fails(work: Work, author: int, sign_up: SignUp) -> None:
    follow(work, sign_up(fresh()), author)
    work.letters.answers = False
    slug = published(work, author).slug
    assert now(work, slug).title == "Title"


def test_a_task_of_a_failed_transaction_is_never_done(work: Work, author: int, sign_up: SignUp) -> None:
    slug = published(work, author).slug
    work.settle()
    follow(work, sign_up(fresh()), author)

    def fail() -> None:
        with work.services.database.writing(author) as writer:
            work.services.tasks.enqueue(writer, MailFollowers(articles.id_of(slug), author))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    work.settle()
    assert work.letters.got == []


# Reports ----------------------------------------------------------------------------------------------------


def test_a_report_is_written(work: Work, author: int, sign_up: SignUp) -> None:
    name = fresh()
    follow(work, sign_up(name), author)
    asked = reports.request(work.services.database, work.services.media, work.services.tasks, author)
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
    slugs = [published(work, author).slug for _ in range(3)]
    for person in people:
        follow(work, person, author)
        for slug in slugs:
            articles.mark(work.services.database, work.services.media, person, slug, favorited=True)
    whole = list(reports.audience(work.services.database, author))
    assert len(whole) == 5 + 15
    for page in (1, 2, 5, 15):
        monkeypatch.setattr(reports, "PAGE", page)
        assert list(reports.audience(work.services.database, author)) == whole


def test_a_failed_report_does_not_stay_pending(work: Work, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise UnavailableError("the media store")

    monkeypatch.setattr(work.services.media, "put", away)
    with contextlib.suppress(AppError):
        reports.request(work.services.database, work.services.media, work.services.tasks, author)
    work.settle()
    states = work.services.database.reader(author).all(REPORT_STATES, user_id=author)
    assert [row.state for row in states] == ["failed"]


def test_a_report_that_is_not_ready_has_no_file_and_no_address_of_one(queued: Work, author: int) -> None:
    use = queued.services
    report = reports.request(use.database, use.media, use.tasks, author)
    # As a worker leaves it that has written the file and has died before it said so.
    use.media.put(report_file(report.id), b"username", "text/csv")
    assert (report.state, report.url) == ("pending", None)
    with pytest.raises(NotFoundError) as missing:
        reports.file(use.database, use.media, author, report.id)
    assert missing.value.errors == {"report": ["not found"]}


def test_an_author_keeps_so_many_reports_and_no_more(work: Work, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_KEPT", 3)
    use = work.services
    asked = []
    for _ in range(5):
        asked.append(reports.request(use.database, use.media, use.tasks, author).id)
        work.settle()
    for report_id in asked[:2]:
        with pytest.raises(NotFoundError):
            reports.show(use.database, author, report_id)
        assert use.media.get(report_file(report_id)) is None
    assert [reports.show(use.database, author, report_id).state for report_id in asked[2:]] == ["ready"] * 3


def test_a_report_is_requested_although_surplus_ones_cannot_be_deleted(
    work: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep their rows until their files are gone."""

    def away(_name: str) -> None:
        raise UnavailableError("the media store")

    monkeypatch.setattr(reports, "MOST_KEPT", 1)
    use = work.services
    asked: list[int] = []

    def request() -> None:
        asked.append(reports.request(use.database, use.media, use.tasks, author).id)
        work.settle()

    request()
    with monkeypatch.context() as patch:
        patch.setattr(use.media, "delete", away)
        request()
    assert [reports.show(use.database, author, report_id).state for report_id in asked] == ["ready"] * 2
    assert reports.file(use.database, use.media, author, asked[0])
    request()
    # A request deletes no more than are kept: here one.
    with pytest.raises(NotFoundError):
        reports.show(use.database, author, asked[0])
    assert use.media.get(report_file(asked[0])) is None
    assert reports.show(use.database, author, asked[1]).state == "ready"


def test_failed_reports_are_the_first_that_are_surplus(
    work: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MOST_KEPT", 2)
    use = work.services
    asked: list[int] = []

    def request() -> None:
        with contextlib.suppress(UnavailableError):
            asked.append(reports.request(use.database, use.media, use.tasks, author).id)
        work.settle()

    def states() -> list[str]:
        return sorted(row.state for row in use.database.reader(author).all(REPORT_STATES, user_id=author))

    def away(*_: object) -> None:
        raise UnavailableError("the media store")

    request()
    with monkeypatch.context() as patch:
        patch.setattr(use.media, "put", away)
        request()
        assert states() == ["failed", "ready"]
        request()
        request()
        assert states() == ["failed", "ready"], "one that fails makes room, too"
    request()
    assert states() == ["ready", "ready"]
    assert reports.show(use.database, author, asked[0]).state == "ready"


def test_a_report_is_deleted_when_it_is_old(work: Work, author: int, monkeypatch: pytest.MonkeyPatch) -> None:
    use = work.services
    asked = reports.request(use.database, use.media, use.tasks, author)
    work.settle()
    use.handlers.expire()
    assert reports.show(use.database, author, asked.id).state == "ready"
    monkeypatch.setattr(reports, "KEPT_FOR", timedelta(0))
    use.handlers.expire()
    with pytest.raises(NotFoundError):
        reports.show(use.database, author, asked.id)
    assert use.media.get(report_file(asked.id)) is None


def test_of_old_reports_only_so_many_are_deleted_at_once(
    work: Work, author: int, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On all servers together."""
    use, people = work.services, [author, *(sign_up(fresh()) for _ in range(4))]
    monkeypatch.setattr(reports, "KEPT_FOR", timedelta(0))
    use.handlers.expire()
    for person in people:
        reports.request(use.database, use.media, use.tasks, person)
    work.settle()

    def left() -> int:
        return sum(len(use.database.reader(person).all(REPORT_STATES, user_id=person)) for person in people)

    for expected in (3, 1, 0, 0):
        use.handlers.expire(2)
        assert left() == expected


def test_a_report_that_is_deleted_while_it_is_written_leaves_no_file(queued: Work, author: int) -> None:
    use = queued.services
    asked = reports.request(use.database, use.media, use.tasks, author)
    reports._delete(use.database, use.media, asked.id)
    queued.settle()
    assert use.media.get(report_file(asked.id)) is None


def test_a_report_that_is_finished_while_it_is_deleted_leaves_no_file(
    queued: Work, author: int, somebody_waits: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    use = queued.services
    asked = reports.request(use.database, use.media, use.tasks, author)
    delete = use.media.delete
    finishing: list[Future[None]] = []

    def finished_meanwhile(name: str) -> None:
        delete(name)
        if not finishing:
            finishing.append(thread.submit(queued.settle))
            until(lambda: somebody_waits() or finishing[0].done(), "the task neither waits nor ends", within=20)

    monkeypatch.setattr(use.media, "delete", finished_meanwhile)
    with ThreadPoolExecutor(1) as thread:
        reports._delete(use.database, use.media, asked.id)
    finishing[0].result()
    assert use.media.get(report_file(asked.id)) is None


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


# All --------------------------------------------------------------------------------------------------------


def test_a_task_whose_article_or_report_is_gone_changes_nothing(work: Work, author: int, sign_up: SignUp) -> None:
    slug = published(work, author).slug
    follower = sign_up(fresh())
    follow(work, follower, author)
    articles.delete(work.services.database, work.services.tasks, author, slug)
    ask(work, cover_task(slug, upload()))
    ask(work, MailFollowers(articles.id_of(slug), author))
    assert work.services.reads.article(articles.id_of(slug), None) is None
    assert work.letters.got == []


def test_a_task_is_stored_as_json_and_decoded_with_its_types(work: Work) -> None:
    handlers = work.services.handlers
    for task in (cover_task("x-7", b""), MailFollowers(1, 2, after=3), reports.WriteReport(4, 5)):
        assert handlers.decode(task.name, msgspec.json.decode(msgspec.json.encode(task))) == task
    for name, arguments in (("no such task", {}), ("cover", {"article_id": "x", "digest": "d"}), ("cover", {})):
        with pytest.raises(InvalidError, match="task"):
            handlers.decode(name, arguments)


def test_every_chunk_of_mail_is_a_separate_task() -> None:
    assert MailFollowers(1, 2, after=3).key != MailFollowers(1, 2, after=4).key
