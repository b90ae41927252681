"""The promises of tasks inside the request only: a time limit, and no tasks of dead processes stay pending."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from conduit import announcements, articles, ids, reports, tasks, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.bootstrap import bootstrap
from conduit.errors import BusyError
from conduit.media_names import digest_of, upload_file
from conduit.ports import Database
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp, settings_for
from conduit_testing.pictures import upload
from conduit_testing.slow_work import REPORT_STATES, Letters, Work, follow, inline, now, published, uploaded
from conduit_testing.waiting import until


def test_after_its_time_limit_no_more_tasks_start_inside_a_request(
    database: PostgresDatabase, author: int, sign_up: SignUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "CHUNK", 2)
    settings = settings_for("postgresql://nowhere/x", media_dir=tmp_path, task_seconds=1e-6)
    letters = Letters()
    work = Work(bootstrap(settings, database, letters), letters, lambda: None)
    for _ in range(5):
        follow(work, sign_up(fresh()), author)
    dropped = REGISTRY.get_sample_value("conduit_tasks_dropped_total", {"task": "mail"}) or 0.0
    published(work, author)
    assert len(letters.got) == 2
    assert REGISTRY.get_sample_value("conduit_tasks_dropped_total", {"task": "mail"}) == dropped + 1


def test_a_second_concurrent_report_is_refused_at_once(
    database: PostgresDatabase, sign_up: SignUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(inline(database, tmp_path))
    monkeypatch.setattr(reports, "MOST_KEPT", 1)
    first, second = sign_up(fresh()), sign_up(fresh())
    kept = reports.request(database, work.services.media, work.services.tasks, second)
    begun, go_on = threading.Event(), threading.Event()
    audience = reports.audience

    def slowly(database: Database, author_id: int) -> Iterator[tuple[str, str, str, str]]:
        begun.set()
        assert go_on.wait(10)
        return audience(database, author_id)

    monkeypatch.setattr(reports, "audience", slowly)
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(reports.request, database, work.services.media, work.services.tasks, first)
        assert begun.wait(10)
        try:
            with pytest.raises(BusyError, match="too many reports are under way"):
                reports.request(database, work.services.media, work.services.tasks, second)
            # No other task waits for it.
            assert published(work, second).title == "Title"
        finally:
            go_on.set()
        assert under_way.result().state == "ready"
    assert _report_states(database, second) == ["failed", "ready"]
    assert reports.file(database, work.services.media, second, kept.id)
    assert reports.request(database, work.services.media, work.services.tasks, second).state == "ready"


def _report_states(database: Database, author: int) -> list[str]:
    return sorted(row.state for row in database.reader(author).all(REPORT_STATES, user_id=author))


def _interrupted(work: Work, author: int, content: bytes) -> str:
    """An article and its author, whose cover and report are still pending from a dead process."""
    slug = published(work, author).slug
    work.services.media.put(upload_file(digest_of(content), articles.id_of(slug)), content, "image/png")
    with work.services.database.writing(author) as writer:
        writer.all(writes.SET_COVER, article_id=articles.id_of(slug), digest=digest_of(content), state="pending")
        writer.all(writes.NEW_REPORT, viewer=author, shard=ids.shard_of(author), most=reports.MOST_KEPT)
    return slug


def test_tasks_of_a_dead_process_are_failed_by_the_next(
    database: PostgresDatabase, author: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(inline(database, tmp_path))
    ready, content = published(work, author).slug, upload()
    uploaded(work, author, ready, content)
    reports.request(work.services.database, work.services.media, work.services.tasks, author)
    # That process had finished the cover already, and died before it deleted the upload.
    work.services.media.put(upload_file(digest_of(content), articles.id_of(ready)), content, "image/png")
    slug = _interrupted(work, author, content)
    (tmp_path / "private/uploads/not-one-of-ours").write_bytes(b"")

    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0)
    _started(database, tmp_path)
    cover, other = now(work, slug).cover, now(work, ready).cover
    assert cover is not None
    assert other is not None
    assert (cover.state, other.state) == ("failed", "ready")
    assert _report_states(database, author) == ["failed", "ready"]
    assert [path.name for path in (tmp_path / "private/uploads").iterdir()] == ["not-one-of-ours"]
    uploaded(work, author, slug, content)
    assert now(work, slug).cover == other


def _started(database: PostgresDatabase, directory: Path) -> None:
    """Start another box, and stop it at once."""
    services = next(inline(database, directory)).services
    services.before_requests()
    services.after_requests()


def test_tasks_that_another_box_may_be_performing_are_left_alone(
    database: PostgresDatabase, author: int, tmp_path: Path
) -> None:
    work = next(inline(database, tmp_path))
    slug = _interrupted(work, author, upload())
    _started(database, tmp_path)
    cover = now(work, slug).cover
    assert cover is not None
    assert cover.state == "pending"
    assert _report_states(database, author) == ["pending"]
    assert len(work.services.media.left_in("private/uploads", 0)) == 1


def test_tasks_too_young_at_the_start_are_failed_later(
    database: PostgresDatabase, author: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = next(inline(database, tmp_path))
    slug = _interrupted(work, author, upload())
    monkeypatch.setattr(tasks, "LONGEST_REQUEST_SECONDS", 0.5)
    work.services.before_requests()
    until(lambda: _report_states(database, author) == ["failed"], "nobody looked again", within=10, pause=0.05)
    cover = now(work, slug).cover
    assert cover is not None
    assert cover.state == "failed"
    work.services.after_requests()
