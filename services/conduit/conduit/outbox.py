"""The transactional outbox: the rows of tasks and their states. A row is read and written on its owner's primary.

A row is written in the transaction that makes the task necessary, and stays until the task is done. Celery carries the
messages and does the retries. A message names a row, and carries the row's generation and the number of
attempts before it.

waiting   no attempt is under way; a message is on its way, or the relay will send one
running   a worker has claimed the task; its lease ends unless it is renewed
retrying  the last attempt failed, and Celery's retry is due
dead      a dead letter: no attempt is left, or another would fail the same way
done      kept for a day

``due_at`` is when the relay sends a message again, in case the last one was lost.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from conduit import ids
from conduit import outbox_statements as sql
from conduit.errors import UnavailableError
from conduit.outbox_statements import Dead, Due
from conduit.ports import Database, Enqueued, Task, Writer
from conduit.statements import Row, Statement

# A task that is waiting is sent again after this many seconds, and then whenever its age has doubled, but at least
# every LONGEST_SECONDS: in a long queue its message is probably not lost, and more messages would make it longer.
FIRST_SECONDS = 10.0
LONGEST_SECONDS = 900.0
LEASE_SECONDS = 30.0
# After a worker died, its task is sent again after this many seconds times its attempts.
LOST_SECONDS = 5.0
KEPT_SECONDS = 86_400.0
BATCH = 100


class Claim(NamedTuple):
    """One attempt at a task. No other attempt has the same values."""

    owner_id: int
    key: str
    generation: int
    worker: str
    attempts: int


class Claimed(NamedTuple):
    """A task that a worker has claimed; ``waited`` is the number of seconds since it was enqueued."""

    claim: Claim
    name: str
    arguments: dict[str, Any]
    waited: float


class Counts(NamedTuple):
    """The number of tasks by state ("done" in the last hour), and the age in seconds of the oldest unfinished one."""

    by_state: dict[str, int]
    oldest: float


# The app ----------------------------------------------------------------------------------------------------


def enqueue(writer: Writer, task: Task) -> Enqueued:
    """Write the task, in the transaction that makes it necessary. A task that is done already will be done again."""
    row = writer.first(sql.ENQUEUE, **_row(task))
    assert row is not None, "it is inserted or updated"
    return Enqueued(task, row.generation)


def enqueue_next(writer: Writer, task: Task) -> Enqueued | None:
    """Write a follow-up task of the same owner. None if its row exists."""
    row = writer.first(sql.ENQUEUE_NEXT, **_row(task))
    return None if row is None else Enqueued(task, row.generation)


def _row(task: Task) -> dict[str, Any]:
    return {
        "owner_id": task.owner_id,
        "key": task.key,
        "name": task.name,
        "arguments": msgspec.json.encode(task).decode(),
        "seconds": FIRST_SECONDS,
    }


# The worker -------------------------------------------------------------------------------------------------


def claim(database: Database, message: Due, worker: str) -> Claimed | None:
    """Begin the attempt that a message asks for. None if there is nothing to do: the message is stale, the task is
    done, gone or dead, or another worker holds its lease.
    """
    with database.writing(message.owner_id) as writer:
        row = writer.first(sql.CLAIM, **message._asdict(), worker=worker, seconds=LEASE_SECONDS)
    if row is None:
        return None
    begun = Claim(message.owner_id, message.key, message.generation, worker, row.attempts)
    return Claimed(begun, row.name, row.arguments, row.waited)


def heartbeat(database: Database, claim: Claim) -> None:
    """Renew the lease, if it is still this attempt's."""
    with database.writing(claim.owner_id) as writer:
        writer.all(sql.HEARTBEAT, **claim._asdict(), seconds=LEASE_SECONDS)


def finish(writer: Writer, claim: Claim) -> bool:
    """The task is done. False if the row is no longer this attempt's: the lease ended, or it was enqueued again."""
    return _end(writer, claim, "done", KEPT_SECONDS, None)


def fail(writer: Writer, claim: Claim, error: str, seconds: float) -> bool:
    """The attempt failed, and Celery retries. After ``seconds`` without a retry, the relay sends one.

    Returns what ``finish`` returns.
    """
    return _end(writer, claim, "retrying", seconds, error)


def dead_letter(writer: Writer, claim: Claim, error: str) -> bool:
    """The task failed for good. Returns what ``finish`` returns."""
    return _end(writer, claim, "dead", None, error)


def _end(writer: Writer, claim: Claim, state: str, seconds: float | None, error: str | None) -> bool:
    return writer.first(sql.END_ATTEMPT, **claim._asdict(), state=state, seconds=seconds, error=error) is not None


# The relay --------------------------------------------------------------------------------------------------


def requeue(database: Database, worker: str) -> None:
    """Release the claims that this worker held when it died. Each death makes the next attempt wait longer."""
    _on_each(database, sql.REQUEUE, worker=worker, seconds=LOST_SECONDS)


def reap(database: Database) -> list[Due]:
    """Find the tasks whose messages must be sent again. Commits before anything is sent: a worker may be quick."""
    return _on_each(database, sql.REAP, first=FIRST_SECONDS, longest=LONGEST_SECONDS, limit=BATCH)


def put_back(database: Database, unsent: Sequence[Due]) -> None:
    """Make tasks due again whose messages could not be sent."""
    for due in unsent:
        with database.writing(due.owner_id) as writer:
            writer.all(sql.PUT_BACK, **due._asdict())


def purge(database: Database) -> None:
    """Delete one batch of the rows that were done a day ago."""
    _on_each(database, sql.PURGE, limit=10 * BATCH)


def _on_each(database: Database, statement: Statement[Row], **parameters: Any) -> list[Row]:
    """The rows of all servers that answer: what is on one that does not waits for it, and no other one does.

    Raises UnavailableError where none answers.
    """
    rows: list[Row] = []
    errors: list[UnavailableError] = []
    servers = list(primaries(database))
    for owner_id in servers:
        try:
            with database.writing(owner_id) as writer:
                rows += writer.all(statement, **parameters)
        except UnavailableError as error:
            errors.append(error)
    if len(errors) == len(servers):
        raise errors[0]
    return rows


def primaries(database: Database) -> Iterator[int]:
    """An owner's id for each server that holds rows."""
    for _, owner_ids in database.readers_of(ids.compose(0, shard, 0) for shard in range(ids.SHARDS)):
        yield owner_ids[0]


# Operators --------------------------------------------------------------------------------------------------


def counts(database: Database) -> Counts:
    rows = _everywhere(database, sql.COUNT, seconds=KEPT_SECONDS - 3_600)
    by_state: dict[str, int] = {}
    for row in rows:
        by_state[row.state] = by_state.get(row.state, 0) + row.number
    return Counts(by_state, max((row.age for row in rows if row.state not in ("done", "dead")), default=0.0))


def dead(database: Database, limit: int) -> list[Dead]:
    """Dead letters, oldest first."""
    return sorted(_everywhere(database, sql.DEAD_LETTERS, limit=limit), key=lambda row: -row.age)[:limit]


def not_done(database: Database, name: str) -> set[str]:
    """The keys of this name's tasks that are not done, including dead ones, which may be retried."""
    return {row.key for row in _everywhere(database, sql.KEYS_NOT_DONE, name=name)}


def retry(database: Database, key: str | None) -> list[str]:
    """Requeue the dead letter with this key, or all of them. Returns their keys."""
    return [row.key for row in _everywhere(database, sql.RETRY, key=key)]


def _everywhere(database: Database, statement: Statement[Row], **parameters: Any) -> list[Row]:
    rows: list[Row] = []
    for owner_id in primaries(database):
        with database.writing(owner_id) as writer:
            rows += writer.all(statement, **parameters)
    return rows
