"""Bringing data from one set of servers to another."""

from typing import Any

import pytest

from conduit.placement import place
from data.importing import command
from data.loading.bulk import TABLES
from data.loading.placement import parse_all
from data.loading.progress import Reporter
from data.tests.conftest import MakeDatabase
from data.tests.support import contents, definitions, execute, value_of
from data.tests.test_seeding import COVERS, PUBLISH, REPORT


def run(sources: list[str], targets: list[str], *flags: str) -> int:
    """The command's exit code; a list holds SHARDS=URL."""
    arguments = [text for source in sources for text in ("--from", source)]
    arguments += [text for target in targets for text in ("--to", target)]
    return command.main([*arguments, *flags])


def test_one_server_to_another_is_verified(small: str, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    schema = definitions(empty)
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 0
    out = capsys.readouterr().out
    assert out.count("on both") == len(TABLES)
    assert "Imported and verified" in out
    assert contents(empty) == contents(small)
    assert definitions(empty) == schema


def test_one_to_two_and_back_loses_nothing(small: str, make_database: MakeDatabase) -> None:
    execute(small, PUBLISH)
    execute(small, REPORT)
    one, two, back = make_database(), make_database(), make_database()
    halves = [f"0-31={one}", f"32-63={two}"]
    assert run([f"0-63={small}"], halves) == 0
    assert value_of(one, "SELECT max((id >> 6) & 63) FROM articles") == 31
    assert value_of(two, "SELECT min(shard) FROM favorite_counts") == 32
    assert value_of(two, "SELECT count(*) FROM emails") == 0
    assert run(halves, [f"0-63={back}"]) == 0
    assert contents(back) == contents(small)
    assert value_of(back, "SELECT count(*) FROM reports") == 1
    assert value_of(back, "SELECT count(cover_digest) FROM articles") > 3000


def test_where_a_directory_knows_the_shards_rows_go_where_it_says_and_names_to_itself(
    small: str, make_database: MakeDatabase
) -> None:
    directory, one, two, back = (make_database() for _ in range(4))
    place(directory, ["one", "two"])
    execute(directory, "UPDATE placements SET server = 'two' WHERE shard = 5")
    sharded = [f"directory={directory}", f"one={one}", f"two={two}"]
    assert run([f"0-63={small}"], sharded) == 0
    shards = "SELECT array_agg(DISTINCT (id >> 6) & 63 ORDER BY (id >> 6) & 63) FROM users"
    assert value_of(one, shards) == [shard for shard in range(32) if shard != 5]
    assert value_of(two, shards) == [5, *range(32, 64)]
    for server, names, users in ((directory, 1_000, 0), (one, 0, None), (two, 0, None)):
        assert value_of(server, "SELECT count(*) FROM usernames") == names
        assert users is None or value_of(server, "SELECT count(*) FROM users") == users
    assert run(sharded, [f"0-63={back}"]) == 0
    assert contents(back) == contents(small)


@pytest.mark.parametrize(
    ("placed", "said"),
    [
        (["one", "gone"], "places logical shards on gone, whose URL is not given"),
        ([], "Logical shard 0 is held by no database"),
    ],
)
def test_a_directory_that_does_not_place_all_shards_on_what_is_given_is_refused(
    small: str, make_database: MakeDatabase, capsys: pytest.CaptureFixture[str], placed: list[str], said: str
) -> None:
    directory, one = make_database(), make_database()
    if placed:
        place(directory, placed)
    assert run([f"0-63={small}"], [f"directory={directory}", f"one={one}"]) == 1
    assert said in capsys.readouterr().err


def test_a_source_without_rows_beside_one_with_rows_is_no_reason_to_refuse(
    small: str, empty: str, make_database: MakeDatabase
) -> None:
    half, target = make_database(), make_database()
    assert run([f"0-63={small}"], [f"0-31={half}", f"32-63={make_database()}"]) == 0
    assert run([f"0-31={half}", f"32-63={empty}"], [f"0-63={target}"]) == 0
    assert contents(target) == contents(half)


def test_what_is_written_at_the_source_meanwhile_stays_behind(small: str, empty: str) -> None:
    before = contents(small)

    class Publishing(Reporter):
        """Something is published once the checksums of the source are known, and again before each table."""

        def step(self, *arguments: Any, **named: Any) -> None:
            super().step(*arguments, **named)
            execute(small, PUBLISH)

    with Publishing() as reporter:
        command.bring_over(parse_all([f"0-63={small}"]), parse_all([f"0-63={empty}"]), False, reporter)
    assert contents(small) != before
    assert contents(empty) == before


def test_ids_made_after_an_import_are_new(small: str, empty: str) -> None:
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 0
    newest = value_of(empty, "SELECT max(id) FROM articles")
    execute(empty, PUBLISH)
    assert value_of(empty, "SELECT max(id) FROM articles") > newest


@pytest.mark.parametrize("table", ["comments", "favorites", "usernames"])
def test_a_tampered_row_undoes_it_all(small: str, empty: str, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    change = {
        "comments": "NEW.body := replace(NEW.body, 'I', 'l'); RETURN NEW",
        "favorites": "RETURN CASE WHEN NEW.article_id % 1000 = 0 THEN NULL ELSE NEW END",
        "usernames": "NEW.user_id := NEW.user_id + (NEW.username LIKE 'ada%')::int; RETURN NEW",
    }[table]
    execute(empty, f"CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; END $$")
    execute(empty, f"CREATE TRIGGER tamper BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION tamper()")
    before, schema = contents(empty), definitions(empty)
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 1
    captured = capsys.readouterr()
    assert f"verification failed: {table} at" in captured.err
    assert "DIFFERS" in captured.out
    assert contents(empty) == before
    assert definitions(empty) == schema


def test_the_seed_is_known_after_an_import(small: str, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    from data.seed.command import main

    execute(small, PUBLISH)
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 0
    assert main(["--size", "small", "--database", f"0-63={empty}", *COVERS]) == 0
    assert "1 row was written or removed since" in capsys.readouterr().out


def test_an_import_replaces_an_import_but_not_what_people_wrote_since(
    small: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [f"0-63={small}"], [f"0-63={empty}"]
    execute(small, PUBLISH)
    assert run(*ends) == 0
    assert run(*ends) == 0
    execute(empty, PUBLISH)
    assert run(*ends) == 1
    assert "on top of the seed" in capsys.readouterr().err
    assert run(*ends, "--replace") == 0
    assert contents(empty) == contents(small)


def test_a_check_refuses_what_an_import_would_and_changes_nothing(
    small: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [f"0-63={small}"], [f"0-63={empty}"]
    before = contents(empty)
    assert run(*ends, "--check") == 0
    assert contents(empty) == before
    assert run(*ends) == 0
    execute(empty, PUBLISH)
    before = contents(empty)
    assert run(*ends, "--check") == 1
    assert "on top of the seed" in capsys.readouterr().err
    assert run(*ends, "--check", "--replace") == 0
    assert contents(empty) == before


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE alembic_version SET version_num = '2'", "The schemas differ"),
        ("DROP TABLE alembic_version", "its schema has no version"),
    ],
)
def test_another_schema_is_refused(
    small: str, empty: str, statement: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(empty, statement)
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 1
    assert message in capsys.readouterr().err


def test_a_table_that_would_stay_behind_is_named(small: str, empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(small, "CREATE TABLE event_log (id bigint)")
    assert run([f"0-63={small}"], [f"0-63={empty}"]) == 1
    assert "would leave out event_log" in capsys.readouterr().err


def test_nothing_is_not_imported(empty: str, make_database: MakeDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"0-63={empty}"], [f"0-63={make_database()}"]) == 1
    assert "holds nothing to import" in capsys.readouterr().err


def test_a_server_is_not_imported_into_itself(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"0-63={small}"], [f"0-63={small}"]) == 1
    assert "cannot be both" in capsys.readouterr().err
