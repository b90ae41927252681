"""Two requests that delete the same comment."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from conduit import articles, comments, writes
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import NotFoundError
from conduit.events import Event
from conduit.ports import Listener, Tasks
from conduit.request_bodies import NewArticle
from conduit_testing.client import fresh
from conduit_testing.deployments import SignUp
from conduit_testing.waiting import until


def test_a_comment_that_is_deleted_meanwhile_is_not_found_and_told_once(
    *,
    database: PostgresDatabase,
    tasks: Tasks,
    sign_up: SignUp,
    somebody_waits: Callable[[], bool],
    told: list[Listener],
) -> None:
    author = sign_up(fresh())
    slug = articles.publish(database, tasks, author, NewArticle(title="T", description="d", body="b")).slug
    article_id, comment = articles.id_of(slug), comments.add(database, author, slug, "text").id
    committed: list[Event] = []

    def keep(events: Sequence[Event]) -> None:
        committed.extend(events)

    told.append(keep)
    try:
        with ThreadPoolExecutor(1) as thread:
            with database.writing(article_id) as writer:
                writer.all(writes.DELETE_COMMENT, article_id=article_id, comment_id=comment, viewer=author)
                second = thread.submit(comments.delete, database, author, slug, comment)
                until(somebody_waits, "the second request does not wait")
            with pytest.raises(NotFoundError):
                second.result(5)
    finally:
        told.remove(keep)
    assert committed == []
