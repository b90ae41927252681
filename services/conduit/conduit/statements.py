"""SQL that is written with SQLAlchemy Core and run by psycopg.

Core keeps the schema's one source (``models.py``) and checks names; running its statements through the engine
would cost more than the query itself on a small box. So each is compiled once, when its module is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]

Row = TypeVar("Row", bound=tuple[Any, ...])
AnyRow = tuple[Any, ...]  # of a statement whose rows have no names yet


class Statement(Generic[Row]):
    """One compiled statement, and the NamedTuple that each row of its result becomes.

    ``sql`` has named placeholders; ``literals`` are the values that were written into it. ``row_factory`` is
    psycopg's hook (https://www.psycopg.org/psycopg3/docs/advanced/rows.html). The columns carry the names of the
    NamedTuple's fields, in their order: a test holds every statement to that.
    """

    __slots__ = ("literals", "name", "row", "row_factory", "sql")

    def __init__(self, name: str, clause: ClauseElement, row: type[Row] = tuple) -> None:  # type: ignore[assignment]
        compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.name = name
        self.sql = str(compiled)
        self.literals: Mapping[str, Any] = {key: value for key, value in compiled.params.items() if value is not None}
        self.row = row
        make: Callable[[Any], Row] = getattr(row, "_make", row)
        self.row_factory = lambda _cursor: make

    def __repr__(self) -> str:
        return f"Statement({self.name})"
