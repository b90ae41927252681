"""Seeding a real PostgreSQL: exact counters, nothing doubled, nothing of people's lost, nothing half done."""

import threading

import psycopg
import pytest

from conduit import ids
from data.loading import bulk
from data.loading.failures import Refused
from data.loading.placement import parse
from data.loading.progress import Reporter
from data.seed import command, rows
from data.seed.command import main, seed
from data.seed.population import populate
from data.seed.sizes import SIZES, Size
from data.tests.conftest import MakeDatabase
from data.tests.support import DIGESTS, contents, definitions, execute, rows_of, value_of, whole

SMALL = SIZES["small"]
COVERS = ["--covers", ",".join(DIGESTS)]
PUBLISH = """
    WITH made AS (
        INSERT INTO articles (id, author_id, slug, title, description, body, tag_list)
        SELECT next_id(((id >> 6) & 63)::int), id, 'new', 'New', '', '', '{}' FROM users LIMIT 1 RETURNING id
    ) SELECT id FROM made
"""
REPORT = """
    INSERT INTO reports (id, user_id, state) SELECT next_id(((id >> 6) & 63)::int), id, 'ready' FROM users LIMIT 1
"""


def differences(url: str, kept: str, counted: str) -> int:
    """Rows in which a kept counter is not what counting gives."""
    query = f"SELECT count(*) FROM (({kept} EXCEPT {counted}) UNION ALL ({counted} EXCEPT {kept})) AS d"  # noqa: S608 - ours
    return int(value_of(url, query))


def test_counters_are_what_counting_gives(small: str) -> None:
    shard = "((id >> 6) & 63)::smallint"
    of_article = "((article_id >> 6) & 63)::smallint"
    pairs = [
        ("SELECT shard, count FROM article_counts", f"SELECT {shard}, count(*) FROM articles GROUP BY 1"),  # noqa: S608 - ours
        (
            "SELECT shard, tag, count FROM tag_counts",
            f"SELECT {of_article}, tag, count(*) FROM article_tags GROUP BY 1, 2",  # noqa: S608 - ours
        ),
        (
            "SELECT shard, user_id, count FROM favorite_counts",
            f"SELECT {of_article}, user_id, count(*) FROM favorites GROUP BY 1, 2",  # noqa: S608 - ours
        ),
        (
            "SELECT id, favorites_count::bigint FROM articles WHERE favorites_count > 0",
            "SELECT article_id, count(*) FROM favorites GROUP BY 1",
        ),
        (
            "SELECT id, articles_count::bigint, last_article_id FROM users WHERE articles_count > 0",
            "SELECT author_id, count(*), max(id) FROM articles GROUP BY 1",
        ),
        (
            "SELECT id, tag_list FROM articles",
            'SELECT article_id, array_agg(tag ORDER BY tag COLLATE "C") FROM article_tags GROUP BY 1',
        ),
    ]
    assert [differences(small, kept, counted) for kept, counted in pairs] == [0] * len(pairs)
    assert value_of(small, "SELECT count(*) FROM users WHERE articles_count = 0 AND last_article_id <> 0") == 0


def test_rows_live_with_their_owners_and_in_the_past(small: str) -> None:
    wrong_shard = [
        "SELECT count(*) FROM articles WHERE (id >> 6) & 63 <> (author_id >> 6) & 63",
        "SELECT count(*) FROM comments WHERE (id >> 6) & 63 <> (article_id >> 6) & 63",
        "SELECT count(*) FROM follows WHERE follower_id = followee_id",
        "SELECT count(*) FROM usernames n LEFT JOIN users u ON u.id = n.user_id AND u.username = n.username "
        "WHERE u.id IS NULL",
        "SELECT count(*) FROM emails n LEFT JOIN users u ON u.id = n.user_id AND u.email = n.email WHERE u.id IS NULL",
        "SELECT count(*) FROM users WHERE created_at <> to_timestamp(((id >> 12) + 1767225600000) / 1000.0)",
        "SELECT count(*) FROM comments WHERE created_at <> to_timestamp(((id >> 12) + 1767225600000) / 1000.0)",
        "SELECT count(*) FROM favorites f JOIN articles a ON a.id = f.article_id WHERE f.created_at < a.created_at",
        "SELECT count(*) FROM comments WHERE created_at >= '2026-06-30 00:00Z'",
        "SELECT count(*) FROM favorites WHERE created_at >= '2026-06-30 00:00Z'",
    ]
    assert [value_of(small, query) for query in wrong_shard] == [0] * len(wrong_shard)
    for slug, title, article_id in rows_of(small, "SELECT slug, title, id FROM articles LIMIT 500"):
        assert slug == ids.slug_for(title, article_id)
    assert value_of(small, "SELECT count(*) FROM articles WHERE title !~ '^[ -~]*$'") > 0


def test_no_row_is_stored_out_of_line(small: str) -> None:
    toasted = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'articles'"
    assert value_of(small, toasted) == 0


def test_keys_and_indexes_come_back_and_pages_are_visible(small: str, empty: str) -> None:
    assert definitions(small) == definitions(empty)
    hidden = "SELECT count(*) FROM pg_class WHERE relname = ANY(%s) AND relallvisible < relpages"
    assert value_of(small, hidden, ["users", "articles", "favorites", "comments", "follows"]) == 0


def test_twice_does_not_double_it(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(small)
    assert main(["--size", "small", "--database", f"0-63={small}", *COVERS]) == 0
    assert "is there already" in capsys.readouterr().out
    assert contents(small) == before


def test_other_covers_are_another_seed(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = ",".join(f"{number:032x}" for number in range(1, len(DIGESTS) + 1))
    covered = value_of(small, "SELECT count(cover_digest) FROM articles")
    assert main(["--size", "small", "--database", f"0-63={small}", "--covers", others]) == 0
    assert f"{covered:,} articles with one of {len(DIGESTS)} covers" in capsys.readouterr().out
    assert value_of(small, "SELECT count(*) FROM articles WHERE cover_digest = %s", DIGESTS[0]) == 0
    assert value_of(small, "SELECT count(cover_digest) FROM articles") == covered


def test_rows_written_on_top_are_counted_and_kept(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(small, PUBLISH)
    execute(small, "DELETE FROM follows WHERE ctid = (SELECT ctid FROM follows LIMIT 1)")
    assert main(["--size", "small", "--database", f"0-63={small}", *COVERS]) == 0
    assert "2 rows were written or removed since" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        PUBLISH,
        "UPDATE users SET bio = 'mine' WHERE id = (SELECT min(id) FROM users)",
        "UPDATE articles SET body = 'mine', updated_at = now() WHERE id = (SELECT min(id) FROM articles)",
        "DELETE FROM comments WHERE id = (SELECT min(id) FROM comments)",
        "UPDATE articles SET cover_digest = 'mine', cover_state = 'ready' "
        "WHERE id = (SELECT min(id) FROM articles WHERE cover_digest IS NULL)",
        "UPDATE articles SET cover_digest = NULL, cover_state = NULL "
        "WHERE id = (SELECT min(id) FROM articles WHERE cover_digest IS NOT NULL)",
        REPORT,
        "COMMENT ON TABLE users IS NULL",
    ],
)
def test_what_people_wrote_is_not_replaced(
    small: str, change: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "large", Size("large", 50))
    execute(small, change)
    before = contents(small)
    assert main(["--size", "large", "--database", f"0-63={small}", *COVERS]) == 1
    message = capsys.readouterr().err
    assert "make stageN down VOLUMES=1" in message
    assert "Traceback" not in message
    assert contents(small) == before
    assert main(["--size", "large", "--database", f"0-63={small}", *COVERS, "--replace"]) == 0
    assert value_of(small, "SELECT count(*) FROM users") == 50


def test_another_size_replaces_a_seed(small: str) -> None:
    with Reporter() as reporter:
        outcome = seed(Size("tiny", 30), [whole(small)], DIGESTS, False, reporter)
    assert outcome.written_since is None
    assert value_of(small, "SELECT count(*) FROM users") == 30


def test_replace_makes_a_written_seed_fresh(small: str) -> None:
    before = contents(small)
    execute(small, PUBLISH)
    assert main(["--size", "small", "--database", f"0-63={small}", *COVERS, "--replace"]) == 0
    assert contents(small) == before


def test_two_servers_hold_what_one_holds(make_database: MakeDatabase, small: str) -> None:
    one, two = make_database(), make_database()
    databases = ["--database", f"0-20={one}", "--database", f"21-63={two}"]
    assert main(["--size", "small", *databases, *COVERS]) == 0
    parts, together = [contents(one), contents(two)], contents(small)
    for table, (count, checksum) in together.items():
        assert sum(part[table][0] for part in parts) == count, table
        assert sum(part[table][1] for part in parts) == checksum, table
    assert value_of(one, "SELECT max((id >> 6) & 63) FROM users") == 20
    assert value_of(two, "SELECT min((id >> 6) & 63) FROM articles") == 21
    assert value_of(two, "SELECT count(*) FROM usernames") == 0
    with Reporter() as reporter:
        servers = [parse(f"0-20={one}"), parse(f"21-63={two}")]
        assert seed(SMALL, servers, DIGESTS, False, reporter).written_since == 0


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_what_was_there(
    small: str, failure: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, schema = contents(small), definitions(small)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(rows.Rows, "_follows", fail)
    with pytest.raises(failure), Reporter() as reporter:
        seed(Size("tiny", 30), [whole(small)], DIGESTS, False, reporter)
    assert contents(small) == before
    assert definitions(small) == schema


def test_interrupted_it_says_so(
    empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "populate", interrupt)
    assert main(["--size", "small", "--database", f"0-63={empty}"]) == 130
    assert "nothing was changed" in capsys.readouterr().err


def test_two_at_once_do_not_mix(empty: str) -> None:
    """One wins; the other says that it is not alone, or finds the seed there."""
    results: list[int] = []

    def run() -> None:
        try:
            with Reporter() as reporter:
                seed(Size("tiny", 200), [whole(empty)], DIGESTS, False, reporter)
            results.append(0)
        except Refused as refusal:
            assert "another seed or import" in str(refusal)  # noqa: PT017 - in a thread, pytest.raises cannot choose
            results.append(1)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in results
    assert len(results) == 2
    assert value_of(empty, "SELECT count(*) FROM users") == 200


def test_no_schema_is_said_in_a_sentence(make_database: MakeDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--size", "small", "--database", f"0-63={make_database(schema=False)}"]) == 1
    assert "its schema is missing" in capsys.readouterr().err


def test_no_server_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--size", "small", "--database", "0-63=postgresql://conduit:secret@127.0.0.1:1/conduit"]) == 1
    message = capsys.readouterr().err
    assert "cannot be reached" in message
    assert "secret" not in message


def test_a_table_in_use_is_said_in_a_sentence(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_SETTINGS", ("SET LOCAL lock_timeout = '100ms'",))
    with psycopg.connect(small) as reader:
        reader.execute("SELECT FROM articles LIMIT 1")
        server = whole(small)
        with pytest.raises(Refused, match="could not be locked"), Reporter() as reporter:
            seed(Size("tiny", 30), [server], DIGESTS, False, reporter)


def test_the_plan_can_be_had_without_a_database() -> None:
    assert rows.Rows(populate(Size("tiny", 30))).expected()["users"] == 30
