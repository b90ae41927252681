"""Tasks that make covers, with every Tasks adapter: at once, or after ``settle``.

The tests do not depend on whether a failed task raises in its sender. They check the state afterwards.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from conduit import articles, covers, ids, images, writes
from conduit.adapters.cache_redis import RedisCache
from conduit.adapters.reads_cached import CachedReads
from conduit.adapters.reads_sql import SqlReads
from conduit.errors import ForbiddenError, UnavailableError
from conduit.events import ArticleChanged, Event
from conduit.image_structure import ImageError
from conduit.media_names import SIZES, cover_file, digest_of, upload_file
from conduit.ports import Listener, Writer
from conduit_testing.client import fresh
from conduit_testing.decoded_reads import DecodedReads
from conduit_testing.deployments import SignUp
from conduit_testing.pictures import png, upload
from conduit_testing.slow_work import Work, ask, cover_task, now, published, uploaded
from conduit_testing.waiting import until


def test_an_upload_is_made_into_a_cover_and_then_deleted(work: Work, author: int) -> None:
    slug, content = published(work, author).slug, upload()
    uploaded(work, author, slug, content)
    cover = now(work, slug).cover
    assert cover is not None
    assert cover.state == "ready"
    digest = digest_of(content)
    for size in ("small", "medium", "large"):
        assert work.services.media.get(cover_file(digest, size))
        assert getattr(cover, size) == work.services.media.url(cover_file(digest, size))
    assert work.services.media.get(upload_file(digest, articles.id_of(slug))) is None


def test_the_answer_shows_the_authors_own_favourite(work: Work, author: int) -> None:
    use, slug = work.services, published(work, author).slug
    articles.mark(use.database, use.media, author, slug, favorited=True)
    assert covers.replace(use.database, use.media, use.tasks, author, slug, upload=upload("PNG", 41, 20)).favorited
    assert covers.remove(use.database, use.media, use.tasks, author, slug).favorited


def test_an_upload_by_another_user_is_not_kept(work: Work, author: int, sign_up: SignUp) -> None:
    use, slug, content = work.services, published(work, author).slug, upload("PNG", 42, 20)
    with pytest.raises(ForbiddenError):
        covers.replace(use.database, use.media, use.tasks, sign_up(fresh()), slug, upload=content)
    assert use.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


def test_a_repeated_task_is_idempotent(work: Work, author: int) -> None:
    slug, content = published(work, author).slug, upload()
    uploaded(work, author, slug, content)
    before = now(work, slug)
    ask(work, cover_task(slug, content))
    assert now(work, slug) == before


def test_a_cover_of_a_damaged_upload_does_not_stay_pending(work: Work, author: int) -> None:
    slug, content = published(work, author).slug, png(40, 40, b"\x09" * 8_000)
    uploaded(work, author, slug, content)
    cover = now(work, slug).cover
    assert cover is None or (cover.state, cover.small) == ("failed", None)
    assert work.services.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


def test_only_the_upload_that_the_article_waits_for_becomes_its_cover(work: Work, author: int) -> None:
    slug, first, second = published(work, author).slug, upload("PNG"), upload("JPEG")
    article_id = articles.id_of(slug)
    uploaded(work, author, slug, second)
    before = now(work, slug)
    work.services.media.put(upload_file(digest_of(first), article_id), first, "image/png")
    ask(work, cover_task(slug, first))
    assert now(work, slug) == before


def test_a_cover_of_a_lost_upload_does_not_stay_pending(work: Work, author: int) -> None:
    slug, content = published(work, author).slug, upload("PNG", 31, 17)
    with work.services.database.writing(author) as writer:
        task = cover_task(slug, content)
        writer.all(writes.SET_COVER, article_id=task.article_id, digest=task.digest, state="pending")
        enqueued = work.services.tasks.enqueue(writer, task)
    work.services.tasks.send(enqueued)
    work.settle()
    cover = now(work, slug).cover
    assert cover is not None
    assert cover.state == "failed"


def test_a_commit_whose_answer_is_lost_keeps_its_upload(
    work: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that makes the cover needs the upload, and so does the next start, to find a pending cover."""
    database, slug, content = work.services.database, published(work, author).slug, upload("PNG", 33, 18)
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


def test_every_step_of_a_cover_invalidates_the_cache(queued: Work, author: int, cache: RedisCache) -> None:
    use, content = queued.services, upload("PNG", 37, 19)
    reads = DecodedReads(CachedReads(SqlReads(use.database, use.media), cache, use.media))
    slug = published(queued, author).slug
    article_id = articles.id_of(slug)

    def state() -> str | None:
        article = reads.article(article_id, None)
        assert article is not None
        return article.cover.state if article.cover else None

    assert state() is None
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    assert state() == "pending"
    queued.settle()
    assert state() == "ready"
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=png(40, 40, b"\x09" * 8_000))
    assert state() == "pending"
    queued.settle()
    assert state() == "failed"
    covers.remove(use.database, use.media, use.tasks, author, slug)
    assert state() is None


def test_a_cover_that_is_pending_or_has_failed_is_not_told_again(
    queued: Work, author: int, told: list[Listener]
) -> None:
    use, content, committed = queued.services, png(40, 40, b"\x09" * 8_000), list[Event]()
    slug = published(queued, author).slug

    def keep(events: Sequence[Event]) -> None:
        committed.extend(events)

    told.append(keep)
    try:
        for _ in range(2):
            covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
        assert committed == [ArticleChanged(articles.id_of(slug), author)]
        queued.settle()
        assert committed == [ArticleChanged(articles.id_of(slug), author)] * 2
        with use.database.writing(articles.id_of(slug)) as writer:
            covers.fail(writer, cover_task(slug, content))
        assert len(committed) == 2
    finally:
        told.remove(keep)


# Its end ----------------------------------------------------------------------------------------------------


def _files(work: Work, content: bytes) -> list[bool]:
    digest = digest_of(content)
    return [work.services.media.get(cover_file(digest, size)) is not None for size in SIZES]


@pytest.mark.parametrize("end", ["article deleted", "cover removed", "another cover"])
def test_files_that_no_article_shows_any_more_are_deleted(work: Work, author: int, end: str) -> None:
    use, content = work.services, upload("PNG", 43, 20)
    first, second = (published(work, author).slug for _ in range(2))
    for slug in (first, second):
        uploaded(work, author, slug, content)
    for slug, left in ((first, True), (second, False)):
        if end == "article deleted":
            articles.delete(use.database, use.tasks, author, slug)
        elif end == "cover removed":
            covers.remove(use.database, use.media, use.tasks, author, slug)
        else:
            uploaded(work, author, slug, upload("PNG", 44, 20))
        work.settle()
        assert _files(work, content) == [left] * len(SIZES)


def test_an_upload_whose_article_is_deleted_before_its_cover_is_made_leaves_nothing(queued: Work, author: int) -> None:
    use, content = queued.services, upload("PNG", 45, 20)
    slug = published(queued, author).slug
    covers.replace(use.database, use.media, use.tasks, author, slug, upload=content)
    articles.delete(use.database, use.tasks, author, slug)
    queued.settle()
    assert _files(queued, content) == [False] * len(SIZES)
    assert use.media.get(upload_file(digest_of(content), articles.id_of(slug))) is None


@pytest.fixture
def authors(sign_up: SignUp, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two authors, on two servers if there are two."""
    signed_up = []
    for shard in (3, 60):
        monkeypatch.setattr(ids, "random_shard", lambda shard=shard: shard)
        signed_up.append(sign_up(fresh()))
    return signed_up


def test_a_cover_that_is_set_while_its_files_are_deleted_has_files(
    work_inline: Work, authors: list[int], somebody_waits: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if what deletes them dies at the first."""
    use, content = work_inline.services, upload("PNG", 46, 20)
    first, second = (published(work_inline, author).slug for author in authors)
    uploaded(work_inline, authors[0], first, content)
    delete = use.media.delete
    setting: list[Future[None]] = []

    def dying(name: str) -> None:
        if name.startswith("public/"):
            setting.append(thread.submit(uploaded, work_inline, authors[1], second, content))
            until(lambda: somebody_waits() or setting[0].done(), "the second article neither waits nor has its cover")
        delete(name)
        if name.startswith("public/"):
            raise ConnectionError("the process dies")

    monkeypatch.setattr(use.media, "delete", dying)
    with ThreadPoolExecutor(1) as thread:
        covers.remove(use.database, use.media, use.tasks, authors[0], first)
    (set_meanwhile,) = setting
    set_meanwhile.result()
    cover = now(work_inline, second).cover
    assert cover is not None
    assert cover.state == "ready"
    assert _files(work_inline, content) == [True] * len(SIZES)


def test_files_of_a_cover_that_is_being_set_are_not_deleted(
    work_inline: Work, authors: list[int], somebody_waits: Callable[[], bool]
) -> None:
    use, content = work_inline.services, upload("PNG", 48, 20)
    first, second = (published(work_inline, author).slug for author in authors)
    uploaded(work_inline, authors[0], first, content)
    second_id, digest = articles.id_of(second), digest_of(content)
    with ThreadPoolExecutor(1) as thread:
        with use.database.writing(second_id) as writer:
            writer.all(writes.SET_COVER, article_id=second_id, digest=digest, state="pending")
            removing = thread.submit(covers.remove, use.database, use.media, use.tasks, authors[0], first)
            until(lambda: somebody_waits() or removing.done(), "the removal neither waits nor ends")
        removing.result(5)
    assert _files(work_inline, content) == [True] * len(SIZES)


def test_a_former_cover_whose_files_were_deleted_meanwhile_is_not_shown_again(
    work_inline: Work, authors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    use, content = work_inline.services, upload("PNG", 49, 20)
    first, second = (published(work_inline, author).slug for author in authors)
    for author, slug in zip(authors, (first, second), strict=True):
        uploaded(work_inline, author, slug, content)

    def meanwhile(_image: object) -> dict[str, bytes]:
        covers.remove(use.database, use.media, use.tasks, authors[1], second)
        raise ImageError("is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(images, "covers", meanwhile)
        uploaded(work_inline, authors[0], first, upload("PNG", 50, 20))
    cover = now(work_inline, first).cover
    assert cover is not None
    assert (cover.state, _files(work_inline, content)) == ("failed", [False] * len(SIZES))
    uploaded(work_inline, authors[0], first, content)
    assert _files(work_inline, content) == [True] * len(SIZES)


def test_a_cover_that_fails_half_way_leaves_no_files(
    work_inline: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, slug = work_inline.services, published(work_inline, author).slug
    former, content = upload("PNG", 51, 20), upload("PNG", 52, 20)
    uploaded(work_inline, author, slug, former)
    put = use.media.put
    stored: list[str] = []

    def full(name: str, data: bytes, content_type: str) -> None:
        if content_type == "image/webp":
            if stored:
                raise UnavailableError("the media store")
            stored.append(name)
        put(name, data, content_type)

    with monkeypatch.context() as patch:
        patch.setattr(use.media, "put", full)
        with pytest.raises(UnavailableError):
            uploaded(work_inline, author, slug, content)
    assert stored
    assert _files(work_inline, content) == [False] * len(SIZES)
    assert _files(work_inline, former) == [True] * len(SIZES)


def test_an_article_is_deleted_although_the_files_of_its_cover_cannot_be(
    work_inline: Work, author: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_name: str) -> None:
        raise UnavailableError("the media store")

    use, slug = work_inline.services, published(work_inline, author).slug
    uploaded(work_inline, author, slug, upload("PNG", 47, 20))
    monkeypatch.setattr(use.media, "delete", away)
    articles.delete(use.database, use.tasks, author, slug)
    assert use.reads.article(articles.id_of(slug), None) is None


def test_a_cover_that_fails_in_the_request_is_restored_in_the_cache(
    work_inline: Work, author: int, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    use, content = work_inline.services, upload("PNG", 38, 19)
    reads = DecodedReads(CachedReads(SqlReads(use.database, use.media), cache, use.media))
    delete, seen = use.media.delete, []

    def read_meanwhile(name: str) -> None:
        seen.append(reads.article(articles.id_of(slug), None))
        delete(name)
    slug = published(work_inline, author).slug
    uploaded(work_inline, author, slug, content)
    before = reads.article(articles.id_of(slug), None)
    assert before is not None
    assert before.cover is not None
    monkeypatch.setattr(use.media, "delete", read_meanwhile)
    uploaded(work_inline, author, slug, png(40, 40, b"\x09" * 8_000))
    assert seen
    assert seen != [before], "the cover has failed for a moment"
    assert reads.article(articles.id_of(slug), None) == before
