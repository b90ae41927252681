"""The outbox's rows, on one server and on two: no task is lost, and none is done twice at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import Float, bindparam, func, update

from conduit import ids, outbox
from conduit.adapters.database_postgres import PostgresDatabase
from conduit.errors import UnavailableError
from conduit.models import outbox as table
from conduit.outbox import Claim, Claimed
from conduit.outbox_statements import Due
from conduit.ports import Task, Writer
from conduit.reports import WriteReport
from conduit.statements import NoRow, Statement
from conduit_testing.queued import clear

HOUR = 3_600
# On two servers, one on each.
ONE, OTHER = (WriteReport(ids.compose(5, shard, 1), ids.compose(1, shard, 0)) for shard in (3, 60))

_seconds = func.make_interval(0, 0, 0, 0, 0, 0, bindparam("seconds", type_=Float))
_AGE = Statement(
    "age all tasks",
    update(table).values(
        due_at=table.c.due_at - _seconds,
        created_at=table.c.created_at - _seconds,
        finished_at=table.c.finished_at - _seconds,
    ),
    NoRow,
)


@pytest.fixture(autouse=True)
def empty(database: PostgresDatabase) -> Iterator[None]:
    clear(database)
    yield
    clear(database)


def enqueue(database: PostgresDatabase, *tasks: Task) -> None:
    for task in tasks:
        with database.writing(task.owner_id) as writer:
            outbox.enqueue(writer, task)


def claim(
    database: PostgresDatabase, task: Task, worker: str = "worker", retries: int = 0, generation: int = 0
) -> Claimed | None:
    return outbox.claim(database, due(task, retries, generation), worker)


def claimed(
    database: PostgresDatabase, task: Task, worker: str = "worker", retries: int = 0, generation: int = 0
) -> Claim:
    got = claim(database, task, worker, retries, generation)
    assert got is not None
    return got.claim


def finish(database: PostgresDatabase, attempt: Claim) -> bool:
    with database.writing(attempt.owner_id) as writer:
        return outbox.finish(writer, attempt)


def fail(database: PostgresDatabase, attempt: Claim, seconds: float = 5.0) -> bool:
    with database.writing(attempt.owner_id) as writer:
        return outbox.fail(writer, attempt, "once", seconds)


def die(database: PostgresDatabase, attempt: Claim, error: str = "for good") -> bool:
    with database.writing(attempt.owner_id) as writer:
        return outbox.dead_letter(writer, attempt, error)


def pass_by(database: PostgresDatabase, seconds: float) -> None:
    """Let the rows be so many seconds older."""
    for server in {database.reader(task.owner_id).server: task.owner_id for task in (ONE, OTHER)}.values():
        with database.writing(server) as writer:
            writer.all(_AGE, seconds=float(seconds))


def due(task: Task, attempts: int = 0, generation: int = 0) -> Due:
    return Due(task.owner_id, task.key, generation, attempts)


def states(database: PostgresDatabase) -> dict[str, int]:
    return outbox.counts(database).by_state


def test_a_claim_has_all_that_a_worker_needs_and_is_the_only_one(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    pass_by(database, 3)
    got = claim(database, ONE)
    assert got is not None
    assert got.claim == Claim(ONE.owner_id, ONE.key, 0, "worker", 1)
    assert got.name == WriteReport.name
    assert WriteReport(**got.arguments) == ONE
    assert 3 <= got.waited < 30
    assert claim(database, ONE, "another") is None
    assert claim(database, OTHER) is None
    assert states(database) == {"running": 1}


def test_a_task_that_is_done_is_done_again_only_if_it_is_enqueued_again(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    assert finish(database, attempt)
    assert not finish(database, attempt)
    assert claim(database, ONE) is None
    assert states(database) == {"done": 1}
    enqueue(database, ONE)
    assert finish(database, claimed(database, ONE, generation=1))


def test_what_is_enqueued_while_it_is_done_is_done_once_more(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    enqueue(database, ONE)
    assert not finish(database, attempt)
    assert finish(database, claimed(database, ONE, generation=1))


def test_what_follows_from_a_task_follows_once(database: PostgresDatabase) -> None:
    for _ in range(2):
        with database.writing(ONE.owner_id) as writer:
            outbox.enqueue_next(writer, ONE)
    assert finish(database, claimed(database, ONE))
    with database.writing(ONE.owner_id) as writer:
        outbox.enqueue_next(writer, ONE)
    assert claim(database, ONE) is None


def test_a_lease_lasts_as_long_as_it_is_renewed(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    for _ in range(3):
        pass_by(database, outbox.LEASE_SECONDS - 5)
        outbox.heartbeat(database, attempt)
    assert outbox.reap(database) == []
    assert claim(database, ONE, "another", 1) is None
    pass_by(database, outbox.LEASE_SECONDS + 1)
    other = claimed(database, ONE, "another", 1)
    outbox.heartbeat(database, attempt)
    assert not finish(database, attempt)
    assert finish(database, other)


def test_a_task_whose_lease_has_ended_is_sent_again(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    pass_by(database, outbox.LEASE_SECONDS + 1)
    assert outbox.reap(database) == [due(ONE, 1)]
    assert not finish(database, attempt)
    assert claim(database, ONE, "another", 0) is None, "the message of the first attempt is an old one"
    assert finish(database, claimed(database, ONE, "another", 1))


def test_what_waits_is_sent_again_on_every_server_less_and_less_often(database: PostgresDatabase) -> None:
    enqueue(database, ONE, OTHER)
    assert outbox.reap(database) == []
    pass_by(database, outbox.FIRST_SECONDS + 1)
    both = sorted([due(ONE), due(OTHER)])
    assert sorted(outbox.reap(database)) == both
    assert outbox.reap(database) == []
    pass_by(database, outbox.FIRST_SECONDS)
    assert outbox.reap(database) == [], "not before its age has doubled"
    pass_by(database, outbox.FIRST_SECONDS)
    assert sorted(outbox.reap(database)) == both
    pass_by(database, 24 * HOUR)
    assert sorted(outbox.reap(database)) == both
    pass_by(database, outbox.LONGEST_SECONDS + 1)
    assert sorted(outbox.reap(database)) == both, "a quarter of an hour is the longest"


def test_what_could_not_be_sent_is_found_again_at_once(database: PostgresDatabase) -> None:
    enqueue(database, ONE, OTHER)
    pass_by(database, outbox.FIRST_SECONDS + 1)
    outbox.reap(database)
    outbox.put_back(database, [due(ONE)])
    assert outbox.reap(database) == [due(ONE)]


def test_a_failed_attempt_is_sent_again_if_no_retry_has_come(database: PostgresDatabase) -> None:
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    assert fail(database, attempt, 60)
    assert not fail(database, attempt, 60)
    assert states(database) == {"retrying": 1}
    pass_by(database, 50)
    assert outbox.reap(database) == []
    pass_by(database, 20)
    assert outbox.reap(database) == [due(ONE, 1)]
    assert claim(database, ONE, retries=0) is None
    assert finish(database, claimed(database, ONE, retries=1))


def test_what_a_worker_had_claimed_when_it_died_waits_longer_after_each_death(database: PostgresDatabase) -> None:
    enqueue(database, ONE, OTHER)
    mine, others = claimed(database, ONE, "died"), claimed(database, OTHER, "lives")
    outbox.requeue(database, "died")
    assert not finish(database, mine)
    assert outbox.reap(database) == []
    pass_by(database, outbox.LOST_SECONDS + 1)
    assert outbox.reap(database) == [due(ONE, 1)]
    assert finish(database, others)

    claimed(database, ONE, "died", 1)
    outbox.requeue(database, "died")
    pass_by(database, outbox.LOST_SECONDS + 1)
    assert outbox.reap(database) == []
    pass_by(database, outbox.LOST_SECONDS)
    assert outbox.reap(database) == [due(ONE, 2)]


def test_dead_letters_are_shown_oldest_first_until_they_are_put_back(database: PostgresDatabase) -> None:
    enqueue(database, OTHER)
    assert die(database, claimed(database, OTHER), "first")
    pass_by(database, 60)
    enqueue(database, ONE)
    attempt = claimed(database, ONE)
    assert die(database, attempt, "second")
    assert not die(database, attempt, "third")
    assert outbox.reap(database) == []
    shown = outbox.dead(database, 10)
    assert [(row.name, row.key, row.attempts, row.error) for row in shown] == [
        (WriteReport.name, OTHER.key, 1, "first"),
        (WriteReport.name, ONE.key, 1, "second"),
    ]
    assert 60 <= shown[0].age < 120
    assert shown[1].age < 60
    assert [row.key for row in outbox.dead(database, 1)] == [OTHER.key]

    assert outbox.retry(database, "no such key") == []
    assert outbox.retry(database, ONE.key) == [ONE.key]
    assert outbox.reap(database) == [due(ONE, generation=1)]
    assert outbox.retry(database, None) == [OTHER.key]
    assert outbox.dead(database, 10) == []
    assert finish(database, claimed(database, OTHER, generation=1))


def test_tasks_are_counted_on_every_server_with_the_age_of_the_oldest_unfinished(database: PostgresDatabase) -> None:
    assert outbox.counts(database) == ({}, 0.0)
    enqueue(database, ONE, OTHER)
    pass_by(database, 100)
    assert outbox.counts(database).by_state == {"waiting": 2}
    assert 100 <= outbox.counts(database).oldest < 160
    finish(database, claimed(database, ONE))
    die(database, claimed(database, OTHER))
    assert outbox.counts(database) == ({"done": 1, "dead": 1}, 0.0)
    pass_by(database, HOUR + 1)
    assert states(database) == {"dead": 1}


def test_of_a_name_what_is_not_done_is_known_by_its_key(database: PostgresDatabase) -> None:
    enqueue(database, ONE, OTHER)
    assert outbox.not_done(database, WriteReport.name) == {ONE.key, OTHER.key}
    assert outbox.not_done(database, "another name") == set()
    die(database, claimed(database, ONE))
    finish(database, claimed(database, OTHER))
    assert outbox.not_done(database, WriteReport.name) == {ONE.key}


def test_what_is_done_is_kept_for_a_day_and_what_is_not_for_as_long_as_it_takes(database: PostgresDatabase) -> None:
    third = WriteReport(ONE.report_id + 1, ONE.author_id)
    enqueue(database, ONE, OTHER, third)
    finish(database, claimed(database, ONE))
    die(database, claimed(database, OTHER))
    pass_by(database, 23 * HOUR)
    outbox.purge(database)
    enqueued_again_finds = outbox.not_done(database, WriteReport.name)
    assert enqueued_again_finds == {OTHER.key, third.key}
    with database.writing(ONE.owner_id) as writer:
        outbox.enqueue_next(writer, ONE)
    assert claim(database, ONE) is None, "it is kept, and known to be done"
    pass_by(database, 2 * HOUR)
    outbox.purge(database)
    assert outbox.not_done(database, WriteReport.name) == {OTHER.key, third.key}
    with database.writing(ONE.owner_id) as writer:
        outbox.enqueue_next(writer, ONE)
    assert claim(database, ONE) is not None, "it is forgotten"


@pytest.mark.parametrize(("away", "found"), [("one", [OTHER]), ("other", [ONE])])
def test_what_is_on_a_server_that_is_away_holds_up_nothing_elsewhere(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, away: str, found: list[Task]
) -> None:
    if len(database.readers()) == 1:
        pytest.skip("there is no other server")
    enqueue(database, ONE, OTHER)
    pass_by(database, HOUR)
    is_away = {"one": range(32), "other": range(32, 64)}[away]
    writing = database.writing

    def without(owner_id: int) -> AbstractContextManager[Writer]:
        if ids.shard_of(owner_id) in is_away:
            raise UnavailableError("the database")
        return writing(owner_id)

    monkeypatch.setattr(database, "writing", without)
    assert [one.key for one in outbox.reap(database)] == [task.key for task in found]
    outbox.purge(database)
    outbox.requeue(database, "worker")
    is_away = range(64)
    for sweep in (outbox.reap, outbox.purge):
        with pytest.raises(UnavailableError):
            sweep(database)
