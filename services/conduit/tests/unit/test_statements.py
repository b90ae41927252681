"""All statements of the app: no join and no foreign key crosses owners, and reads lock nothing."""

import re
from itertools import product
from typing import Any

import pytest

from conduit import announcements, covers, list_queries, models, queries, reports, writes
from conduit.statements import Statement

FILTERS = [
    list_queries.list_statement(tag=tag, author=author, favorited=favorited, signed_in=signed_in)
    for tag, author, favorited, signed_in in product((True, False), repeat=4)
]
READING = (queries, list_queries, covers, announcements, reports)
READS = [value for module in READING for value in vars(module).values() if isinstance(value, Statement)] + FILTERS
WRITES = [value for value in vars(writes).values() if isinstance(value, Statement)]


def test_each_combination_of_filters_is_one_statement_compiled_once() -> None:
    assert len({statement.sql for statement in FILTERS}) == len(FILTERS) == 16
    again = [
        list_queries.list_statement(tag=tag, author=author, favorited=favorited, signed_in=signed_in)
        for tag, author, favorited, signed_in in product((True, False), repeat=4)
    ]
    assert all(one is other for one, other in zip(FILTERS, again, strict=True))


@pytest.mark.parametrize("statement", READS, ids=repr)
def test_a_read_neither_writes_nor_locks(statement: Statement[Any]) -> None:
    assert not re.search(r"\b(INSERT|UPDATE|DELETE|FOR UPDATE|FOR SHARE)\b", statement.sql, re.IGNORECASE)


@pytest.mark.parametrize("statement", READS + WRITES, ids=repr)
def test_no_statement_joins_follows_to_articles_or_comments_to_their_writers(statement: Statement[Any]) -> None:
    tables = set(re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+)?(\w+)", statement.sql, re.IGNORECASE))
    assert not {"follows", "articles"} <= tables
    assert not {"comments", "users"} <= tables
    assert not {"usernames", "users"} <= tables
    assert not {"emails", "users"} <= tables


def test_no_foreign_key_crosses_owners() -> None:
    found = {
        (table.name, key.parent.name, key.column.table.name)
        for table in models.metadata.tables.values()
        for key in table.foreign_keys
    }
    assert found == {
        ("articles", "author_id", "users"),
        ("article_tags", "article_id", "articles"),
        ("favorites", "article_id", "articles"),
        ("comments", "article_id", "articles"),
        ("follows", "follower_id", "users"),
        ("reports", "user_id", "users"),
    }


def test_the_key_of_every_owned_row_starts_with_its_shard() -> None:
    leading = {table.name: next(iter(table.primary_key)).name for table in models.OWNED_TABLES}
    assert set(leading.values()) <= {"id", "article_id", "follower_id", "owner_id", "shard"}, leading
    assert {*models.OWNED_TABLES, *models.DIRECTORY_TABLES, models.placements} == set(models.metadata.tables.values())
