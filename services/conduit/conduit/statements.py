"""SQL that is written with SQLAlchemy Core and run by psycopg.

Core keeps the schema's one source (``models.py``) and checks names; running its statements through the engine
would cost more than the query itself on a small box. So each is compiled once, when its module is read.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]


class Statement:
    """One compiled statement: ``sql`` with named placeholders, and the values that were literal in it."""

    __slots__ = ("literals", "name", "sql")

    def __init__(self, name: str, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.name = name
        self.sql = str(compiled)
        self.literals: Mapping[str, Any] = {key: value for key, value in compiled.params.items() if value is not None}

    def __repr__(self) -> str:
        return f"Statement({self.name})"
