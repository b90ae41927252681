"""If a database cannot be migrated, the program says so in one line and exits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from conduit.migrate import migrate, wait_for
from conduit_testing.deployments import SECRET, NewDatabase

CODE = Path(__file__).parents[2]


NOBODY = "postgresql://conduit@127.0.0.1:1/conduit"


def test_of_several_databases_those_that_answer_are_migrated(new_database: NewDatabase) -> None:
    one, two = new_database(), new_database()
    assert wait_for([one, two], seconds=10, others=0.2) == [one, two]
    assert wait_for([NOBODY, one, two], seconds=10, others=0.2) == [one, two]
    with pytest.raises(TimeoutError, match="did not answer within 1 s"):
        wait_for([NOBODY], seconds=1)


def _migrate(url: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(CODE), "DATABASE_URL": url, "JWT_SECRET": SECRET}
    return subprocess.run(
        [sys.executable, "-m", "conduit", "migrate"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=CODE,
    )


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE alembic_version SET version_num = '9999_of_tomorrow'", "a newer version of the app migrated"),
        # The oldest migration again, over its own tables.
        ("DELETE FROM alembic_version", "already exists"),
        ("ALTER TABLE alembic_version RENAME version_num TO another", "does not exist"),
    ],
    ids=["newer", "statement refused", "version unreadable"],
)
def test_a_failed_migration_is_reported_in_one_line(new_database: NewDatabase, statement: str, message: str) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
    done = _migrate(url)
    assert done.returncode == 1
    assert done.stderr == ""
    (error,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["level"] == "error"]
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert "exception" not in error
