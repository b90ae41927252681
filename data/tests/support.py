"""What several tests of this folder ask a database."""

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg

from data.loading.bulk import TABLES
from data.loading.placement import Server, parse
from data.seed import covers
from data.seed.rows import Rows

# Covers that nobody drew: rows know theirs by nothing else.
DIGESTS = tuple(f"{number:032x}" for number in range(covers.COUNT))


def rows_of(url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with psycopg.connect(url) as connection:
        return connection.execute(query, parameters).fetchall()


def value_of(url: str, query: str, *parameters: object) -> Any:
    """The first column of the first row."""
    return rows_of(url, query, *parameters)[0][0]


def execute(url: str, statement: str, *parameters: object) -> None:
    """A statement, committed."""
    with psycopg.connect(url) as connection:
        connection.execute(statement, parameters or None)


def whole(url: str) -> Server:
    """A server that holds all logical shards."""
    return parse(f"0-63={url}")


def contents(url: str) -> dict[str, tuple[Any, ...]]:
    """Count and checksum of every table."""
    query = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} t"
    return {table: rows_of(url, query.format(table))[0] for table in TABLES}


def definitions(url: str) -> list[tuple[Any, ...]]:
    """Every key, index and column as the catalogue describes it."""
    return [
        *rows_of(
            url,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        ),
        *rows_of(
            url, "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
        ),
        *rows_of(
            url,
            "SELECT table_name, column_name, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY 1, ordinal_position",
        ),
    ]


def bytes_of(rows: Rows) -> Iterator[bytes]:
    """All tables' rows as they are sent."""
    for table in TABLES:
        for chunk in rows.of(table):
            yield chunk.data


def digest(rows: Rows) -> str:
    """SHA-256 of all rows as they are sent."""
    sha = hashlib.sha256()
    for data in bytes_of(rows):
        sha.update(data)
    return sha.hexdigest()
