"""Tasks as rows: what is known of each, and who is at it. All that is said of one is said on its owner's primary.

A task waits, is being done, waits for another try, or is settled: done or dead. Each time it is due, somebody has to
look at it, so that what a queue has lost, or a box that died was at, is sent again.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Float, Integer, Text, bindparam, text

from conduit import ids
from conduit.ports import Database, Task, Writer
from conduit.statements import AnyRow, Statement
from conduit.tasks import owner_of

# Until a task that nobody has begun is sent again: at first, and then whenever it is as old again, up to the longest.
# A long queue is not lost, and should not be made longer by what waits in it already.
FIRST_SECONDS = 10.0
LONGEST_SECONDS = 900.0
# How long a box that says nothing is believed to be at a task.
LEASE_SECONDS = 30.0
KEPT_SECONDS = 86_400.0  # that a task is kept when it is done
AT_ONCE = 100

_TYPES = {
    "again": Float,
    "arguments": Text,
    "asked": Integer,
    "box": Text,
    "error": Text,
    "key": Text,
    "limit": Integer,
    "longest": Float,
    "name": Text,
    "owner_id": BigInteger,
    "seconds": Float,
    "state": Text,
    "tries": Integer,
}


def _statement(name: str, sql: str) -> Statement:
    clause = text(sql)
    names = {key for key in _TYPES if key in clause._bindparams}
    return Statement(name, clause.bindparams(*(bindparam(key, type_=_TYPES[key]) for key in names)))


_SECONDS = "interval '1 second'"
_NEW = f"""
    INSERT INTO tasks (owner_id, key, name, arguments, due_at)
    VALUES (:owner_id, :key, :name, CAST(:arguments AS jsonb), now() + :seconds * {_SECONDS})
    ON CONFLICT (owner_id, key) DO
"""
# Asked for again, it is done again; while somebody is at it, once more after that.
_NOTE = _statement(
    "note task",
    f"""
    {_NEW} UPDATE SET
        asked = tasks.asked + 1,
        state = CASE tasks.state WHEN 'running' THEN 'running' ELSE 'waiting' END,
        tries = CASE tasks.state WHEN 'running' THEN tasks.tries ELSE 0 END,
        due_at = CASE tasks.state WHEN 'running' THEN tasks.due_at ELSE excluded.due_at END,
        noted_at = CASE tasks.state WHEN 'waiting' THEN tasks.noted_at ELSE now() END,
        finished_at = NULL, error = NULL
    """,
)
# What follows from a task follows once, however often that is tried.
_FOLLOW = _statement("note task that follows", f"{_NEW} NOTHING")
_TAKE = _statement(
    "take task",
    f"""
    UPDATE tasks SET state = 'running', tries = tries + 1, taken_by = :box, due_at = now() + :seconds * {_SECONDS}
    WHERE owner_id = :owner_id AND key = :key AND state = 'waiting'
    RETURNING name, arguments, tries, asked, extract(epoch FROM now() - noted_at)::float8
    """,
)
_HOLD = _statement(
    "hold task",
    f"""
    UPDATE tasks SET due_at = now() + :seconds * {_SECONDS}
    WHERE owner_id = :owner_id AND key = :key AND state = 'running' AND taken_by = :box AND tries = :tries
    """,
)
_CLOSE = _statement(
    "close task",
    f"""
    UPDATE tasks SET
        state = CASE asked WHEN :asked THEN :state ELSE 'waiting' END,
        tries = CASE asked WHEN :asked THEN tries ELSE 0 END,
        due_at = CASE asked WHEN :asked THEN now() + :seconds * {_SECONDS} ELSE now() END,
        finished_at = CASE WHEN asked = :asked AND :state IN ('done', 'dead') THEN now() END,
        error = :error, taken_by = NULL
    WHERE owner_id = :owner_id AND key = :key AND state = 'running' AND taken_by = :box AND tries = :tries
    RETURNING state
    """,
)
# The first try that a death ends is followed at once: whoever is told again may take it. More of them, and it may be
# the task that kills; then it waits, as what has failed does, until it is due.
_RELEASE = _statement(
    "release tasks",
    f"""
    UPDATE tasks SET
        state = CASE WHEN tries > 1 THEN 'failed' ELSE 'waiting' END,
        taken_by = NULL, due_at = now() + (tries - 1) * 5.0 * {_SECONDS}
    WHERE state = 'running' AND taken_by = :box
    """,
)
_SWEEP = _statement(
    "sweep tasks",
    f"""
    WITH due AS (
        SELECT owner_id, key FROM tasks WHERE state IN ('waiting', 'running', 'failed') AND due_at <= now()
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks t SET
        state = 'waiting', taken_by = NULL,
        due_at = now() + least(greatest(:again * {_SECONDS}, now() - t.noted_at), :longest * {_SECONDS})
    FROM due WHERE t.owner_id = due.owner_id AND t.key = due.key
    RETURNING t.owner_id, t.key
    """,
)
_FORGET = _statement(
    "forget tasks",
    """
    DELETE FROM tasks WHERE (owner_id, key) IN (
        SELECT owner_id, key FROM tasks WHERE state = 'done' AND due_at <= now() LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    """,
)
_COUNTS = _statement(
    "count tasks",
    f"""
    SELECT state, count(*), extract(epoch FROM now() - min(noted_at))::float8 FROM tasks
    WHERE state <> 'done' OR due_at > now() + :seconds * {_SECONDS} GROUP BY state
    """,
)
_DEAD = _statement(
    "dead tasks",
    """
    SELECT name, key, tries, error, extract(epoch FROM now() - finished_at)::float8 FROM tasks
    WHERE state = 'dead' ORDER BY finished_at LIMIT :limit
    """,
)
_NOT_DONE = _statement("tasks not done", "SELECT key FROM tasks WHERE name = :name AND state <> 'done'")
_REVIVE = _statement(
    "revive tasks",
    """
    UPDATE tasks SET state = 'waiting', tries = 0, noted_at = now(), due_at = now(), finished_at = NULL, error = NULL
    WHERE state = 'dead' AND key = coalesce(:key, key) RETURNING key
    """,
)


class Taken(NamedTuple):
    """A task that a box is at: its how manieth try this is, and the seconds since it was noted."""

    task: Task
    box: str
    tries: int
    asked: int
    waited: float


class Dead(NamedTuple):
    """A task that has had all its tries: what went wrong in the last, and the seconds since."""

    name: str
    key: str
    tries: int
    error: str
    age: float


class Counts(NamedTuple):
    """Tasks by state (the done ones of the last hour), and the age in seconds of the oldest that is not settled."""

    by_state: dict[str, int]
    oldest: float


# Asking -----------------------------------------------------------------------------------------------------


def note(writer: Writer, task: Task) -> None:
    """Have a task done, in the transaction that makes it necessary. Done already, it is done again."""
    writer.all(_NOTE, **_new(task))


def follow(writer: Writer, task: Task) -> None:
    """Have a task done that follows from another, unless it is known already. Both are with the same owner."""
    writer.all(_FOLLOW, **_new(task))


def _new(task: Task) -> dict[str, Any]:
    return {
        "owner_id": owner_of(task),
        "key": task.key,
        "name": task.name,
        "arguments": json.dumps(dict(task.arguments)),
        "seconds": FIRST_SECONDS,
    }


# Doing ------------------------------------------------------------------------------------------------------


def take(database: Database, owner_id: int, key: str, box: str) -> Taken | None:
    """Be the one who is at it. None where it is done, gone, not due yet or another's."""
    with database.writing(owner_id) as writer:
        row = writer.first(_TAKE, owner_id=owner_id, key=key, box=box, seconds=LEASE_SECONDS)
    if row is None:
        return None
    name, arguments, tries, asked, waited = row
    return Taken(Task(name, arguments, key), box, tries, asked, waited)


def hold(database: Database, taken: Taken) -> None:
    """Say that the box is at it still."""
    with database.writing(owner_of(taken.task)) as writer:
        writer.all(_HOLD, **_held(taken), seconds=LEASE_SECONDS)


def close(writer: Writer, taken: Taken, state: str, seconds: float | None, error: str | None = None) -> str | None:
    """Say how a try ended. The state that the task then has: "waiting" where it was asked for again meanwhile, None
    where the box was thought dead and it is another's by now.
    """
    row = writer.first(_CLOSE, **_held(taken), asked=taken.asked, state=state, seconds=seconds, error=error)
    return row[0] if row else None


def _held(taken: Taken) -> dict[str, Any]:
    return {"owner_id": owner_of(taken.task), "key": taken.task.key, "box": taken.box, "tries": taken.tries}


# Looking after ----------------------------------------------------------------------------------------------


def _primaries(database: Database) -> Iterator[int]:
    """An owner's id for each server that holds rows."""
    for _, owner_ids in database.readers_of(ids.compose(0, shard, 0) for shard in range(ids.SHARDS)):
        yield owner_ids[0]


def release(database: Database, box: str) -> None:
    """Give back what a box had taken before it died."""
    for owner_id in _primaries(database):
        with database.writing(owner_id) as writer:
            writer.all(_RELEASE, box=box)


def sweep(database: Database, publish: Callable[[int, str], None]) -> int:
    """Send again what is due; how many. Where ``publish`` raises, what it was to send stays due."""
    sent = 0
    for owner_id in _primaries(database):
        with database.writing(owner_id) as writer:
            due = writer.all(_SWEEP, again=FIRST_SECONDS, longest=LONGEST_SECONDS, limit=AT_ONCE)
            for row in due:
                publish(*row)
        sent += len(due)
    return sent


def forget(database: Database) -> None:
    """Delete some of what was done long ago."""
    for owner_id in _primaries(database):
        with database.writing(owner_id) as writer:
            writer.all(_FORGET, limit=10 * AT_ONCE)


def counts(database: Database) -> Counts:
    found = _everywhere(database, _COUNTS, seconds=KEPT_SECONDS - 3_600)
    by_state: dict[str, int] = {}
    for state, count, _ in found:
        by_state[state] = by_state.get(state, 0) + count
    return Counts(by_state, max((age for state, _, age in found if state not in ("done", "dead")), default=0.0))


def dead(database: Database, limit: int) -> list[Dead]:
    """Some of those that have had all their tries, oldest first."""
    found = [Dead(*row) for row in _everywhere(database, _DEAD, limit=limit)]
    return sorted(found, key=lambda one: -one.age)[:limit]


def not_done(database: Database, name: str) -> set[str]:
    """The keys of the tasks of this name that somebody does yet, or may be told to: the dead are among them."""
    return {row[0] for row in _everywhere(database, _NOT_DONE, name=name)}


def revive(database: Database, key: str | None) -> list[str]:
    """Give the dead, or the one with this key, all their tries again; their keys."""
    return [row[0] for row in _everywhere(database, _REVIVE, key=key)]


def _everywhere(database: Database, statement: Statement, **parameters: Any) -> list[AnyRow]:
    rows = []
    for owner_id in _primaries(database):
        with database.writing(owner_id) as writer:
            rows += writer.all(statement, **parameters)
    return rows
