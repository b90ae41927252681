"""The command: brings the data over, checks it, and only then commits."""

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from conduit.models import metadata, placements
from data import importing
from data.loading import marker
from data.loading.bulk import DIRECTORY, TABLES, Target
from data.loading.failures import Refused, explained, run
from data.loading.placement import Server, parse_all
from data.loading.progress import Reporter
from data.loading.replacing import ask

_BLOCK_BYTES = 1 << 18
# A stage's own, and no data.
_NOT_DATA = {"alembic_version", placements.name}


class Source:
    """A server that is read, all of it as it was at one moment."""

    def __init__(self, server: Server) -> None:
        """Connects and fixes the snapshot. Raises Refused."""
        self.server = server
        self.connection = server.connect()
        with explained(server.label):
            self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self.connection.read_only = True
            self.connection.execute("SELECT FROM users LIMIT 0")

    def close(self) -> None:
        """Lets the snapshot go."""
        self.connection.close()


End = TypeVar("End", Source, Target)


@dataclass(frozen=True)
class Part:
    """Rows of one table that go from one source to one target; no shards for a table of the directory."""

    table: str
    columns: tuple[str, ...]
    source: Source
    target: Target
    shards: tuple[int, ...]

    def select(self, what: sql.Composable) -> sql.Composed:
        """A query of ``what`` over these rows at the source."""
        query = sql.SQL("SELECT {} FROM {}").format(what, sql.Identifier(self.table))
        if self.table in DIRECTORY:
            return query
        held = sql.SQL(" WHERE {} = ANY({})").format(_shard_of(self.table), sql.Literal(list(self.shards)))
        return query + held


@dataclass(frozen=True)
class Sum:
    """Rows of a table, and a checksum that does not depend on their order."""

    rows: int = 0
    checksum: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.rows + other.rows, self.checksum + other.checksum)


@dataclass(frozen=True)
class Check:
    """What the sources sent of a table and what a target holds of it."""

    table: str
    target: str
    sent: Sum
    held: Sum


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when all data was brought over and verified."""
    parser = argparse.ArgumentParser(prog="python -m data.importing", description=importing.__doc__)
    for flag, name, what in (("--from", "sources", "read from"), ("--to", "targets", "written to")):
        parser.add_argument(
            flag,
            dest=name,
            required=True,
            action="append",
            metavar="SHARDS=URL",
            help=f"a database {what} and the logical shards it holds, as 0-63=postgresql://…; once for each database",
        )
    parser.add_argument("--replace", action="store_true", help="replace data at the target even if people wrote it")
    parser.add_argument("--check", action="store_true", help="only say whether it would be refused; change nothing")
    given = parser.parse_args(arguments)

    def command() -> int:
        ends = parse_all(given.sources), parse_all(given.targets)
        if given.check:
            check(*ends, given.replace)
            return 0
        with Reporter() as reporter:
            bring_over(*ends, given.replace, reporter)
        return 0

    return run(command, unchanged="the target is as it was; the same command starts again.")


def check(sources: list[Server], targets: list[Server], replace: bool) -> None:
    """Changes nothing. Raises Refused where ``bring_over`` would before it writes."""
    with contextlib.ExitStack() as stack:
        _accepted(sources, targets, replace, stack)


def bring_over(sources: list[Server], targets: list[Server], replace: bool, reporter: Reporter) -> list[Check]:
    """Replaces what the targets hold by what the sources hold; returns what was verified.

    Raises Refused when a server cannot be read or filled, the schemas differ, the target holds what must not
    be replaced, or the verification fails; the targets are then as they were.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        readers, writers = _accepted(sources, targets, replace, stack)
        parts = list(_parts(readers, writers))
        sums = _sums_sent(parts, reporter)
        for writer in writers:
            writer.clear()
        for table in TABLES:
            here = [part for part in parts if part.table == table]
            reporter.step(table, sum(sums[part].rows for part in here))
            for part in here:
                _copy(part, reporter)
        for writer in writers:
            writer.restore(reporter)
        checks = _verify(parts, sums, reporter)
        seed = _seed_of(readers)
        for writer in writers:
            with explained(writer.server.label):
                writer.mark(marker.take(writer.connection, writer.server.shards_text, "import", None, seed))
        for writer in writers:
            writer.commit()
        for writer in writers:
            writer.settle(reporter)
    rows = sum(check.held.rows for check in checks)
    reporter.say(f"Imported and verified {rows:,} rows in {time.monotonic() - begun:.1f} s.")
    return checks


def _accepted(
    sources: list[Server], targets: list[Server], replace: bool, stack: contextlib.ExitStack
) -> tuple[list[Source], list[Target]]:
    """Both ends, connected until the stack closes, the targets locked. Raises Refused."""
    both = {server.label for server in sources} & {server.label for server in targets}
    if both:
        raise Refused(f"{', '.join(sorted(both))} cannot be both source and target of an import.")
    readers = [_closing(Source(server), stack) for server in sources]
    writers = [_closing(Target(server), stack) for server in targets]
    _same_schema(readers, writers)
    if all(_is_empty(reader) for reader in readers):
        raise Refused(f"{sources[0].label} holds nothing to import; seed it first (`make stageN seed`).")
    ask(writers, "the import", replace)
    return readers, writers


def _closing(end: End, stack: contextlib.ExitStack) -> End:
    stack.callback(end.close)
    return end


def _is_empty(source: Source) -> bool:
    with explained(source.server.label):
        return marker.is_empty(source.connection)


def _shard_of(table: str) -> sql.Composed:
    """The logical shard of a row: what its primary key leads with is the shard or an id that carries it."""
    leading = next(iter(metadata.tables[table].primary_key.columns)).name
    form = sql.SQL("{}") if leading == "shard" else sql.SQL("(({} >> 6) & 63)")
    return form.format(sql.Identifier(leading))


def _parts(sources: list[Source], targets: list[Target]) -> Iterator[Part]:
    for table in TABLES:
        columns = _columns(sources[0], table)
        if table in DIRECTORY:
            yield Part(table, columns, sources[0], targets[0], ())
            continue
        for target in targets:
            for source in sources:
                shards = tuple(sorted(set(source.server.shards) & set(target.server.shards)))
                if shards:
                    yield Part(table, columns, source, target, shards)


def _columns(source: Source, table: str) -> tuple[str, ...]:
    with explained(source.server.label):
        rows = source.connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attgenerated = '' ORDER BY attnum",
            [table],
        ).fetchall()
    return tuple(row[0] for row in rows)


def _same_schema(sources: list[Source], targets: list[Target]) -> None:
    """Raises Refused unless all servers have one schema, and every table of it is known here."""
    ends: list[Source | Target] = [*sources, *targets]
    versions = {end.server.label: _version(end) for end in ends}
    if len(set(versions.values())) > 1:
        said = ", ".join(f"{label} has {version}" for label, version in versions.items())
        raise Refused(f"The schemas differ: {said}. Bring both stages up with the same images (`make stageN up`).")
    for source in sources:
        with explained(source.server.label):
            rows = source.connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).fetchall()
        unknown = {row[0] for row in rows} - set(TABLES) - _NOT_DATA
        if unknown:
            names = ", ".join(sorted(unknown))
            raise Refused(f"{source.server.label}: an import would leave out {names}; models.py must list them.")


def _version(end: Source | Target) -> str:
    with explained(end.server.label):
        try:
            row = end.connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except errors.UndefinedTable:
            row = None
    if row is None:
        raise Refused(f"{end.server.label}: its schema has no version; start the stage, which migrates it.")
    return str(row[0])


def _blocks(part: Part) -> Iterator[bytes]:
    """Rows as the source sends them, one by one. A generator, so that its errors name the source."""
    names = sql.SQL(", ").join(map(sql.Identifier, part.columns))
    statement = sql.SQL("COPY ({}) TO STDOUT WITH (FORMAT binary)").format(part.select(names))
    with explained(part.source.server.label), part.source.connection.cursor().copy(statement) as copy:
        for block in copy:
            yield bytes(block)


def _copy(part: Part, reporter: Reporter) -> None:
    with part.target.copying(part.table, part.columns) as copy:
        buffer, rows = bytearray(), 0
        for block in _blocks(part):
            buffer += block
            rows += 1
            if len(buffer) >= _BLOCK_BYTES:
                copy.write(buffer)
                reporter.advance(rows)
                buffer, rows = bytearray(), 0
        copy.write(buffer)
        reporter.advance(rows)


def _sum_of(columns: tuple[str, ...]) -> sql.Composed:
    row = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0)").format(row)


def _sum(end: Source | Target, query: sql.Composed) -> Sum:
    with explained(end.server.label):
        row = end.connection.execute(query).fetchone()
    assert row is not None
    return Sum(int(row[0]), int(row[1]))


def _sums_sent(parts: list[Part], reporter: Reporter) -> dict[Part, Sum]:
    reporter.step("checksums of the source", len(parts), "queries")
    sums = {}
    for part in parts:
        sums[part] = _sum(part.source, part.select(_sum_of(part.columns)))
        reporter.advance(1)
    return sums


def _verify(parts: list[Part], sums: dict[Part, Sum], reporter: Reporter) -> list[Check]:
    """Holds every table of every target against what was sent. Raises Refused on any difference."""
    reporter.step("checksums of the target", len(TABLES), "tables")
    checks = []
    for table in TABLES:
        here = [part for part in parts if part.table == table]
        for target in dict.fromkeys(part.target for part in here):
            sent = sum((sums[part] for part in here if part.target is target), Sum())
            all_rows = sql.SQL("SELECT {} FROM {}").format(_sum_of(here[0].columns), sql.Identifier(table))
            checks.append(Check(table, target.server.label, sent, _sum(target, all_rows)))
        reporter.advance(1)
    reporter.say(f"  {'table':<16} {'target':<28} {'sent':>12} {'held':>12}  checksum")
    for check in checks:
        verdict = f"{check.held.checksum & (1 << 64) - 1:016x} on both" if check.sent == check.held else "DIFFERS"
        reporter.say(f"  {check.table:<16} {check.target:<28} {check.sent.rows:>12,} {check.held.rows:>12,}  {verdict}")
    wrong = [f"{check.table} at {check.target}" for check in checks if check.sent != check.held]
    if wrong:
        raise Refused(
            f"The verification failed: {', '.join(wrong)} is not what the source sent. Everything was undone; look for "
            f"triggers or rules on the target's tables, then import again."
        )
    return checks


def _seed_of(sources: list[Source]) -> marker.Seed | None:
    """The seed that all sources hold, if they hold one."""
    marks = [marker.read(source.connection) for source in sources]
    seeds = [mark.seed if mark else None for mark in marks]
    return seeds[0] if all(seed == seeds[0] for seed in seeds) else None
