"""What a user reads when a database fails."""

import psycopg
import pytest
from psycopg import errors

from data.loading.failures import Refused, explain, explained, run


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.DiskFull("could not extend file"), "Free some space"),
        (errors.UndefinedTable('relation "users" does not exist'), "make stageN up"),
        (errors.LockNotAvailable("canceling statement"), "stop the load"),
        (errors.InvalidPassword("no"), "PGPASSWORD"),
        (errors.AdminShutdown("terminating connection"), "make stageN status"),
        (psycopg.OperationalError("connection refused\nIs the server running?"), "connection refused"),
        (errors.CheckViolation("violates check"), "Nothing was changed"),
    ],
)
def test_a_failure_names_the_server_and_the_remedy_in_one_line(error: psycopg.Error, remedy: str) -> None:
    text = explain(error, "db:5432/conduit")
    assert text.startswith("db:5432/conduit: ")
    assert remedy in text
    assert "\n" not in text


def test_a_drivers_error_becomes_a_refusal_of_that_server() -> None:
    with pytest.raises(Refused, match=r"^db: "), explained("db"):
        raise errors.DiskFull("no space")


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise Refused("not like that")

    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run(lambda: 0, "nothing changed") == 0
    assert run(refuse, "nothing changed") == 1
    assert run(interrupt, "nothing changed") == 130
    assert capsys.readouterr().err == "error: not like that\n\ninterrupted: nothing changed\n"
