"""SQL written with SQLAlchemy Core or as text, compiled once, and run by psycopg.

Core takes table and column names from ``models.py``, so a typo fails at import. On a small box its engine would cost
more than the query itself. So each statement is compiled when its module is imported, and psycopg runs the SQL.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ClauseElement, bindparam, text
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]

Row = TypeVar("Row", bound=tuple[Any, ...])


class NoRow(NamedTuple):
    """For a statement that returns no rows."""


class Statement(Generic[Row]):
    """One compiled statement, and the NamedTuple that each row of its result becomes.

    ``sql`` has named placeholders; ``literals`` are the values that were written into it. ``row_factory`` is
    psycopg's hook (https://www.psycopg.org/psycopg3/docs/advanced/rows.html). The result's columns have the names of
    the NamedTuple's fields, in the same order; test_rows.py checks every statement on a real server.
    """

    __slots__ = ("literals", "name", "row", "row_factory", "sql")

    def __init__(self, name: str, clause: ClauseElement, row: type[Row]) -> None:
        compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.name = name
        self.sql = str(compiled)
        self.literals: Mapping[str, Any] = {key: value for key, value in compiled.params.items() if value is not None}
        self.row = row
        make: Callable[[Any], Row] = row._make  # type: ignore[attr-defined]  # every row is a NamedTuple
        self.row_factory = lambda _cursor: make

    def __repr__(self) -> str:
        return f"Statement({self.name})"


def sql_statement(name: str, sql: str, row: type[Row], types: Mapping[str, Any]) -> Statement[Row]:
    """A statement from SQL text with ``:name`` parameters; ``types`` has the SQLAlchemy type of each.

    Several statements may share one ``types``: names that the SQL does not use are ignored. Raises KeyError for a
    parameter without a type.
    """
    clause = text(sql)
    parameters = (bindparam(key, type_=types[key]) for key in clause.compile().params)
    return Statement(name, clause.bindparams(*parameters), row)
