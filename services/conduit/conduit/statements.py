"""SQL written with SQLAlchemy Core or as text, compiled once, and run by psycopg.

Core takes table and column names from ``models.py``, so a typo fails at import. On a small box its engine would cost
more than the query itself. So each statement is compiled when its module is imported, and psycopg runs the SQL.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ClauseElement, bindparam, text
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]

Row = TypeVar("Row", bound=tuple[Any, ...])


class NoRow(NamedTuple):
    """For a statement that returns no rows."""


class Changed(NamedTuple, Generic[Row]):
    """A row after a change, and the position of the change in its server's log (WAL), in bytes.

    The position is read while the changed row is locked: of two changes to one row, the later has the higher position.
    It is None where nothing changed.
    """

    row: Row
    position: int | None


class Statement(Generic[Row]):
    """One compiled statement, and the NamedTuple that each row of its result becomes.

    ``sql`` has named placeholders; ``literals`` are the values that were written into it. ``row_factory`` is
    psycopg's hook (https://www.psycopg.org/psycopg3/docs/advanced/rows.html). The result's columns have the names of
    the NamedTuple's fields, in the same order (``columns``); test_rows.py checks every statement on a real server.
    """

    __slots__ = ("columns", "literals", "name", "row_factory", "sql")

    def __init__(
        self,
        name: str,
        clause: ClauseElement,
        row: type[Row],
        *,
        columns: Sequence[str] | None = None,
        make: Callable[[Any], Row] | None = None,
    ) -> None:
        compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.name = name
        self.sql = str(compiled)
        self.literals: Mapping[str, Any] = {key: value for key, value in compiled.params.items() if value is not None}
        # Every row is a NamedTuple.
        self.columns = list(columns or row._fields)  # type: ignore[attr-defined]
        self.row_factory = _always(make or row._make)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"Statement({self.name})"


def sql_statement(name: str, sql: str, row: type[Row], types: Mapping[str, Any]) -> Statement[Row]:
    """A statement from SQL text with ``:name`` parameters; ``types`` has the SQLAlchemy type of each.

    Several statements may share one ``types``: names that the SQL does not use are ignored. Raises KeyError for a
    parameter without a type.
    """
    return Statement(name, _typed(sql, types), row)


def changing_statement(name: str, sql: str, row: type[Row], types: Mapping[str, Any]) -> Statement[Changed[Row]]:
    """Like ``sql_statement``, for SQL whose last column, after the row's, is the ``position`` of the change."""
    make_row: Callable[[Any], Row] = row._make  # type: ignore[attr-defined]

    def make(values: Sequence[Any]) -> Changed[Row]:
        return Changed(make_row(values[:-1]), values[-1])

    columns = [*row._fields, "position"]  # type: ignore[attr-defined]
    return Statement(name, _typed(sql, types), Changed[Row], columns=columns, make=make)


def _typed(sql: str, types: Mapping[str, Any]) -> ClauseElement:
    clause = text(sql)
    return clause.bindparams(*(bindparam(key, type_=types[key]) for key in clause.compile().params))


def _always(make: Callable[[Any], Row]) -> Callable[[Any], Callable[[Any], Row]]:
    return lambda _cursor: make
