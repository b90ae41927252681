"""The command: fills the servers given with the dataset of a size."""

import argparse
import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import data.seed
from data.loading import marker
from data.loading.bulk import DIRECTORY, TABLES, Target
from data.loading.failures import explained, run
from data.loading.placement import Server, parse_all
from data.loading.progress import Reporter
from data.loading.replacing import ask
from data.seed import covers
from data.seed.population import populate
from data.seed.rows import COLUMNS, Rows, email_of
from data.seed.sizes import PASSWORD, REFERENCE, SIZES, VERSION, Size


@dataclass(frozen=True)
class Outcome:
    """What the seed has, and for one that was there already how many rows were written or removed since."""

    seed: marker.Seed
    written_since: int | None


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when the dataset is there, made now or before."""
    parser = argparse.ArgumentParser(prog="python -m data.seed", description=data.seed.__doc__)
    parser.add_argument("--size", required=True, choices=list(SIZES), help="1,000, 10,000 or 100,000 users")
    parser.add_argument(
        "--database",
        required=True,
        action="append",
        metavar="SHARDS=URL",
        help="which logical shards a database holds, as 0-63=postgresql://…; once for each database, the first one "
        "holds the directory of names",
    )
    parser.add_argument(
        "--covers",
        default="",
        metavar="DIGEST,DIGEST",
        help="digests of the seed's covers, whose files the stage holds (data.seed.covers makes them); without, "
        "no article has a cover",
    )
    parser.add_argument("--replace", action="store_true", help="replace data even if people wrote it")
    given = parser.parse_args(arguments)
    digests = tuple(given.covers.split(",")) if given.covers else ()
    if len(digests) not in (0, covers.COUNT):
        parser.error(f"--covers names {len(digests)} covers; the seed has {covers.COUNT}")

    def command() -> int:
        with Reporter() as reporter:
            seed(SIZES[given.size], parse_all(given.database), digests, given.replace, reporter)
        return 0

    return run(command, unchanged="nothing was changed; the same command starts again.")


def seed(size: Size, servers: list[Server], digests: Sequence[str], replace: bool, reporter: Reporter) -> Outcome:
    """Fills the servers, which together hold all logical shards, unless the same dataset is there already.

    ``digests`` are those of the seed's covers; with none, no article has one. Raises Refused when a server cannot be
    filled or holds what must not be replaced.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        targets = [_open(server, stack) for server in servers]
        there = _already_there(size, digests, targets)
        if there is not None and not (replace and there.written_since):
            number = there.written_since
            since = (
                f"; {number:,} {'row was' if number == 1 else 'rows were'} written or removed since" if number else ""
            )
            reporter.say(f"The seed “{size.name}” is there already ({_text(there.seed)}){since}. Nothing to do.")
            return there
        ask(targets, f"the seed “{size.name}”", replace)
        made = _fill(size, targets, digests, reporter)
        for target in targets:
            target.commit()
        for target in targets:
            target.settle(reporter)
    took = time.monotonic() - begun
    reporter.say(f"Seeded “{size.name}”: {_text(made)} in {took:.1f} s.")
    reporter.say(f"Sign in as {email_of(0)} … {email_of(size.users - 1)} with the password {PASSWORD}.")
    return Outcome(made, None)


def _open(server: Server, stack: contextlib.ExitStack) -> Target:
    target = Target(server)
    stack.callback(target.close)
    return target


def _already_there(size: Size, digests: Sequence[str], targets: list[Target]) -> Outcome | None:
    """What is there, when every server holds its part of this very dataset."""
    wanted, there = (size.name, VERSION, _fingerprint(digests)), None
    newer, older = 0, dict.fromkeys(marker.COUNTED, 0)
    for target in targets:
        with explained(target.server.label):
            mark = marker.read(target.connection)
            if mark is None or mark.seed is None or mark.shards != target.server.shards_text:
                return None
            there = mark.seed
            if (there.size, there.version, there.covers) != wanted or marker.is_empty(target.connection):
                return None
            more, counts = marker.written(target.connection, REFERENCE.isoformat())
        newer += more
        older = {table: older[table] + counts[table] for table in older}
    assert there is not None, "there is at least one server"
    return Outcome(there, newer + sum(max(0, there.rows[table] - older[table]) for table in older))


def _fill(size: Size, targets: list[Target], digests: Sequence[str], reporter: Reporter) -> marker.Seed:
    """All rows, indexes and markers, not yet committed."""
    reporter.step("plan of users and articles")
    rows = Rows(populate(size), digests)
    expected = rows.expected()
    for target in targets:
        target.clear()
    done: dict[str, int] = {}
    for table in TABLES:
        reporter.step(table, expected.get(table))
        done[table] = _copy(table, rows, targets, reporter)
    for target in targets:
        target.restore(reporter)
    counted = {table: done[table] for table in marker.COUNTED}
    dataset = marker.Seed(size.name, VERSION, counted, _fingerprint(digests), rows.covered)
    for target in targets:
        with explained(target.server.label):
            shards = target.server.shards_text
            target.mark(marker.take(target.connection, shards, "seed", REFERENCE, dataset))
    return dataset


def _copy(table: str, rows: Rows, targets: list[Target], reporter: Reporter) -> int:
    """One table to all servers at once, each row to the one that holds its logical shard."""
    count = 0
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(target.sink(table, COLUMNS[table])) for target in targets]
        holder = {shard: sink for target, sink in zip(targets, sinks, strict=True) for shard in target.server.shards}
        if table in DIRECTORY:
            holder = dict.fromkeys(holder, sinks[0])
        for shard, number, data in rows.of(table):
            holder[shard].write(data)
            count += number
            reporter.advance(number)
    return count


def _fingerprint(digests: Sequence[str]) -> str:
    """What tells one set of covers from another; empty for none."""
    return hashlib.sha256(",".join(digests).encode()).hexdigest()[:16] if digests else ""


def _text(made: marker.Seed) -> str:
    shown = ("users", "articles", "favorites", "comments", "follows")
    rows = ", ".join(f"{made.rows[table]:,} {table}" for table in shown)
    return f"{rows}, {made.covered:,} articles with one of {covers.COUNT} covers" if made.covers else rows
