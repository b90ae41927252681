"""The SQL statements of the transactional outbox, and their rows. ``outbox.py`` says what each is for."""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Float, Integer, Text

from conduit.statements import NoRow, Row, Statement, sql_statement

_TYPES = {
    "arguments": Text,
    "attempts": Integer,
    "error": Text,
    "first": Float,
    "generation": Integer,
    "key": Text,
    "limit": Integer,
    "longest": Float,
    "name": Text,
    "owner_id": BigInteger,
    "seconds": Float,
    "state": Text,
    "worker": Text,
}


class Due(NamedTuple):
    """A row's message; ``attempts`` is the number of attempts so far."""

    owner_id: int
    key: str
    generation: int
    attempts: int


class Dead(NamedTuple):
    """A dead letter: the error of its last attempt, and the seconds since."""

    name: str
    key: str
    attempts: int
    error: str
    age: float


class ClaimedRow(NamedTuple):
    name: str
    arguments: dict[str, Any]
    attempts: int
    waited: float


class Generation(NamedTuple):
    generation: int


class State(NamedTuple):
    state: str


class Key(NamedTuple):
    key: str


class CountRow(NamedTuple):
    state: str
    number: int
    age: float


def _statement(name: str, row: type[Row], sql: str) -> Statement[Row]:
    return sql_statement(name, sql, row, _TYPES)


_SECONDS = "interval '1 second'"
_UNFINISHED = "('waiting', 'running', 'retrying')"
_THIS_ATTEMPT = """
    owner_id = :owner_id AND key = :key AND generation = :generation AND attempts = :attempts
    AND state = 'running' AND worker = :worker
"""
_INSERT = f"""
    INSERT INTO outbox (owner_id, key, name, arguments, due_at)
    VALUES (:owner_id, :key, :name, CAST(:arguments AS jsonb), now() + :seconds * {_SECONDS})
    ON CONFLICT (owner_id, key) DO
"""
# A task that is enqueued again will be done again. An attempt that is under way loses its claim, and older messages are
# stale: otherwise Celery's next retry would count as an attempt at the new task. If no attempt was begun, the messages
# keep their places in the queue.
ENQUEUE = _statement(
    "enqueue task",
    Generation,
    f"""
    {_INSERT} UPDATE SET
        generation = CASE
            WHEN outbox.state = 'waiting' AND outbox.attempts = 0 THEN outbox.generation ELSE outbox.generation + 1
        END,
        state = 'waiting', attempts = 0, worker = NULL, error = NULL, finished_at = NULL, due_at = excluded.due_at,
        created_at = CASE outbox.state WHEN 'waiting' THEN outbox.created_at ELSE now() END
    RETURNING generation
    """,
)
# A follow-up task is written once, however many attempts its task takes.
ENQUEUE_NEXT = _statement(
    "enqueue next task",
    Generation,
    f"{_INSERT} NOTHING RETURNING generation",
)
# A stale message, of an earlier generation or whose attempt was begun already, claims nothing. Nor does any while
# another worker holds the lease.
CLAIM = _statement(
    "claim task",
    ClaimedRow,
    f"""
    UPDATE outbox SET
        state = 'running', attempts = :attempts + 1, worker = :worker, due_at = now() + :seconds * {_SECONDS}
    WHERE owner_id = :owner_id AND key = :key AND generation = :generation AND attempts <= :attempts
      AND (state IN ('waiting', 'retrying') OR state = 'running' AND due_at <= now())
    RETURNING name, arguments, attempts, extract(epoch FROM now() - created_at)::float8 AS waited
    """,
)
HEARTBEAT = _statement(
    "renew lease",
    NoRow,
    f"UPDATE outbox SET due_at = now() + :seconds * {_SECONDS} WHERE {_THIS_ATTEMPT}",
)
END_ATTEMPT = _statement(
    "end attempt",
    State,
    f"""
    UPDATE outbox SET
        state = :state, error = :error, worker = NULL, due_at = now() + :seconds * {_SECONDS},
        finished_at = CASE WHEN :state IN ('done', 'dead') THEN now() END
    WHERE {_THIS_ATTEMPT} RETURNING state
    """,
)
REQUEUE = _statement(
    "requeue tasks",
    NoRow,
    f"""
    UPDATE outbox SET state = 'retrying', worker = NULL, due_at = now() + :seconds * attempts * {_SECONDS}
    WHERE state = 'running' AND worker = :worker
    """,
)
REAP = _statement(
    "reap tasks",
    Due,
    f"""
    WITH due AS (
        SELECT owner_id, key FROM outbox WHERE state IN {_UNFINISHED} AND due_at <= now()
        LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox t SET
        state = 'waiting', worker = NULL,
        due_at = now() + least(greatest(:first * {_SECONDS}, now() - t.created_at), :longest * {_SECONDS})
    FROM due WHERE t.owner_id = due.owner_id AND t.key = due.key
    RETURNING t.owner_id, t.key, t.generation, t.attempts
    """,
)
PUT_BACK = _statement(
    "put task back",
    NoRow,
    """
    UPDATE outbox SET due_at = now()
    WHERE owner_id = :owner_id AND key = :key AND generation = :generation AND attempts = :attempts
      AND state = 'waiting'
    """,
)
PURGE = _statement(
    "purge tasks",
    NoRow,
    """
    DELETE FROM outbox WHERE (owner_id, key) IN (
        SELECT owner_id, key FROM outbox WHERE state = 'done' AND due_at <= now() LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    """,
)
COUNT = _statement(
    "count tasks",
    CountRow,
    f"""
    SELECT state, count(*) AS number, extract(epoch FROM now() - min(created_at))::float8 AS age FROM outbox
    WHERE state <> 'done' OR due_at > now() + :seconds * {_SECONDS} GROUP BY state
    """,
)
DEAD_LETTERS = _statement(
    "dead tasks",
    Dead,
    """
    SELECT name, key, attempts, error, extract(epoch FROM now() - finished_at)::float8 AS age FROM outbox
    WHERE state = 'dead' ORDER BY finished_at LIMIT :limit
    """,
)
KEYS_NOT_DONE = _statement(
    "keys of tasks not done",
    Key,
    "SELECT key FROM outbox WHERE name = :name AND state <> 'done'",
)
RETRY = _statement(
    "retry dead tasks",
    Key,
    """
    UPDATE outbox SET
        generation = generation + 1, state = 'waiting', attempts = 0, error = NULL,
        created_at = now(), due_at = now(), finished_at = NULL
    WHERE state = 'dead' AND key = coalesce(:key, key) RETURNING key
    """,
)
