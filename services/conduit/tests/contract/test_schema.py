"""The migrations make the schema of the models."""

from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from psycopg.rows import class_row
from sqlalchemy import create_engine

import conduit
from conduit import ids
from conduit.migrate import migrate, newest_version
from conduit.models import metadata
from conduit_testing.deployments import NewDatabase


def test_models_and_migrations_agree(new_database: NewDatabase) -> None:
    url = new_database()
    migrate(url)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_models_alone_make_the_same_constraints_and_storage_as_the_migrations(new_database: NewDatabase) -> None:
    migrated, made = new_database(), new_database()
    migrate(migrated)
    engine = create_engine(made.replace("postgresql://", "postgresql+psycopg://", 1))
    metadata.create_all(engine)
    engine.dispose()

    def described(url: str) -> list[tuple[object, ...]]:
        with psycopg.connect(url) as connection:
            indexes = connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> %s ORDER BY 1",
                ("alembic_version",),
            ).fetchall()
            options = connection.execute(
                "SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL "
                "AND relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()
            constraints = connection.execute(
                "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                "WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> %s ORDER BY 1, 2",
                ("alembic_version",),
            ).fetchall()
        return [*indexes, *options, *constraints]

    assert described(migrated) == described(made)


def test_an_article_has_both_a_cover_and_its_state_or_neither(new_database: NewDatabase) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, username, email, password_hash) VALUES (1, 'a', 'a', '')")
        insert = (
            "INSERT INTO articles (id, author_id, slug, title, description, body, tag_list, cover_digest, cover_state) "
            "VALUES (%s, 1, '', '', '', '', '{}', %s, %s)"
        )
        for number, pair in enumerate([(None, None), ("d", "pending"), ("d", "ready"), ("d", "failed")]):
            connection.execute(insert, (number, *pair))
        for pair in (("d", None), (None, "ready"), ("d", "half")):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(insert, (9, *pair))


def test_migrating_again_changes_nothing(new_database: NewDatabase) -> None:
    url = new_database()
    for _ in range(2):
        migrate(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest_version(),)]


class _TaskRow(NamedTuple):
    key: str
    state: str
    generation: int
    attempts: int
    worker: str | None
    arguments: dict[str, object]


def test_tasks_of_an_older_version_are_kept(new_database: NewDatabase) -> None:
    url = new_database()
    _upgrade(url, "0005_tasks")
    insert = (
        "INSERT INTO tasks (owner_id, key, name, arguments, state, asked, tries, taken_by, due_at) "
        'VALUES (%s, %s, \'cover\', \'{"article_id": 1, "digest": "d"}\', %s, 2, 3, %s, now())'
    )
    states = {"waiting": "waiting", "running": "running", "failed": "retrying", "dead": "dead", "done": "done"}
    with psycopg.connect(url, autocommit=True) as connection:
        for number, state in enumerate(states):
            connection.execute(insert, (number, state, state, "box" if state == "running" else None))
    migrate(url)
    with psycopg.connect(url, row_factory=class_row(_TaskRow)) as connection:
        rows = connection.execute("SELECT key, state, generation, attempts, worker, arguments FROM outbox").fetchall()
    assert {row.key: row.state for row in rows} == states
    assert {(row.generation, row.attempts) for row in rows} == {(0, 3)}
    assert {row.key: row.worker for row in rows if row.worker} == {"running": "box"}
    assert all(row.arguments == {"article_id": 1, "digest": "d"} for row in rows)


def _upgrade(url: str, version: str) -> None:
    """Migrate to an older version."""
    config = Config()
    config.set_main_option("script_location", str(Path(conduit.__file__).parent / "migrations"))
    config.attributes["url"] = url
    command.upgrade(config, version)


def test_the_database_makes_ids_as_the_app_reads_them(new_database: NewDatabase) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url) as connection:
        made = [
            row[0] for row in connection.execute("SELECT next_id(s % 64) FROM generate_series(0, 63) AS s").fetchall()
        ]
        row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    assert [ids.shard_of(one) for one in made] == [n % 64 for n in range(64)]
    assert len(set(made)) == 64
    assert 0 <= row[0] - ids.EPOCH_MS - (made[-1] >> 12) < 5_000
