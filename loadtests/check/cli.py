"""`make stageN check`: each fault in turn, while people write and others watch; then every write is looked for."""

import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from infra.stage import topology
from infra.stage.topology import Topology
from loadtests.ceiling.boxes import Box, Boxes, DockerUnreachableError, StageDownError
from loadtests.ceiling.record import Run, machine, now
from loadtests.ceiling.stage import INTERRUPTED, StageCommandError, interruptible, run
from loadtests.check.faults import Fault, chosen, healthy
from loadtests.check.ledger import ACKNOWLEDGED, Count, count, idle_kinds
from loadtests.check.memory import Seen, added_up
from loadtests.check.person import NotReadableError
from loadtests.check.writers import Reader, Watcher, Writer, writing
from loadtests.experiments.scene import CannotError

WRITERS = 4
QUICK_WRITERS = 2
WATCHERS = 2
# Of writing before the fault begins, and after it has ended.
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 6.0
FAILED, USAGE = 1, 2


def main(stage: int, quick: bool = False, fault: str = "") -> int:
    """Cause the stage's faults, one after another, or the one that is named, while people write and others watch.

    Returns the exit code: 0 where nothing acknowledged was lost, nothing is there twice, nothing that was refused is
    there, and nobody missed what they had written or seen; 1 where that does not hold or the check cannot be done; 130
    interrupted.
    """
    interruptible()
    try:
        faults = chosen(topology.read(stage).boxes, fault)
    except CannotError as error:
        print(error, file=sys.stderr)
        return USAGE
    try:
        run("up", stage, "--same-apps")
        print(f"Its limits are off for this; to have them back: make stage{stage} up", file=sys.stderr)
        return _check(stage, faults, QUICK_WRITERS if quick else WRITERS)
    except KeyboardInterrupt:
        print(f"Interrupted. To have the stage as it was: make stage{stage} up", file=sys.stderr)
        return INTERRUPTED
    except (CannotError, NotReadableError, DockerUnreachableError, StageDownError, httpx.HTTPError) as error:
        print(f"{error}\nWhat runs, and how it is: make stage{stage} status", file=sys.stderr)
        return FAILED
    except StageCommandError:
        return FAILED


def _check(stage: int, faults: list[Fault], writers: int) -> int:
    found = topology.read(stage)
    all_boxes = Boxes(found.project)
    boxes = {box.service: box for box in all_boxes.boxes}
    record = Run(stage, "check")
    record.data |= {"kind": "check", "machine": machine(all_boxes.info, all_boxes.version), "writers": writers}
    # What promises depend on: pins, and commits that wait for a replica.
    app = next((boxes[name].settings for name in found.apps if name in boxes), {})
    record.data |= {"sync": found.sync, "read_your_writes": app.get("READ_YOUR_WRITES", "true") == "true"}
    console = Console(file=sys.stderr, highlight=False)
    told: list[_Told] = []
    for fault in faults:
        console.print(f"Stage {stage}: {writers} writers, {fault.name}", markup=False)
        told.append(_cause(found, boxes, fault, writers))
        record.data["trials"].append(told[-1].record())
        record.save()
    record.data |= {"complete": True, "why_incomplete": None, "ended": now()}
    record.save()
    _print(told)
    held = all(one.holds for one in told)
    idle = [f"{kind} at: {one.fault.name}" for one in told for kind in one.idle()]
    if idle:
        print(f"No verdict: nothing was acknowledged or seen, so that nothing could be missed ({', '.join(idle)}).")
    elif held:
        print("Held: nothing acknowledged is lost, nothing is there twice, nobody missed what they wrote or saw.")
    else:
        print("Not held; the keys are in the data.")
        if any(one.fault.may_lose and not one.holds for one in told):
            print("Replication is asynchronous: the last writes may be lost with a primary (docs/stage5.md).")
    print(f"Raw data: {record.folder.relative_to(record.folder.parents[1])}/run.json")
    return 0 if held and not idle else FAILED


@dataclass(frozen=True)
class _Told:
    """What became of the writes and reads beside a fault, by their kinds."""

    fault: Fault
    counts: dict[str, Count]
    reads: dict[str, Seen]

    @property
    def holds(self) -> bool:
        return all(one.holds for one in self.counts.values()) and all(one.holds for one in self.reads.values())

    def idle(self) -> list[str]:
        """The kinds of which nothing was acknowledged, or seen."""
        return idle_kinds(self.counts) + [kind for kind, seen in self.reads.items() if not seen.reads]

    def record(self) -> dict[str, Any]:
        """For the record of the run."""
        counts = {kind: one.record() for kind, one in self.counts.items()}
        return {
            "fault": self.fault.name,
            "counts": counts,
            "reads": {kind: one.record() for kind, one in self.reads.items()},
        }


def _cause(stage: Topology, boxes: dict[str, Box], fault: Fault, writers: int) -> _Told:
    wanted = f"taken-{secrets.token_hex(4)}"
    people = [Writer(stage.url, wanted) for _ in range(writers)]
    watchers = [Watcher(stage.url, people) for _ in range(WATCHERS)]
    # Only a queue promises a mail for each article; without one a mail may be left out.
    reader = Reader(stage.url, stage.page_urls["mail"], people) if stage.worker else None
    try:
        with writing(people, fault.hang_up, watchers):
            time.sleep(BEFORE_SECONDS)
            fault.cause(boxes)
            time.sleep(AFTER_SECONDS)
        if not healthy(boxes):
            raise CannotError(f"The stage is not healthy after: {fault.name}.")
        counts = _counted(people, reader)
    finally:
        for person in (*people, *watchers, *([reader] if reader else [])):
            person.close()
    return _Told(fault, counts, added_up(person.memory for person in (*people, *watchers)))


def _counted(people: list[Writer], reader: Reader | None) -> dict[str, Count]:
    there: Counter[str] = Counter()
    shown: dict[tuple[str, str], Any] = {}
    for person in people:
        there += person.there()
        shown |= person.shown()
    creations = [one for person in people for one in person.creations]
    changes = [one for person in people for one in person.changes]
    if reader:
        mails = [one for person in people for one in person.mails()]
        there += reader.mails([one.key for one in mails if one.outcome == ACKNOWLEDGED])
        creations += mails
    return count(creations, there, changes, shown)


def _sum(counts: dict[str, Count]) -> Count:
    whole = Count()
    for one in counts.values():
        whole.acknowledged += one.acknowledged
        whole.refused += one.refused
        whole.unknown += one.unknown
        whole.lost += one.lost
        whole.doubled += one.doubled
        whole.refused_but_there += one.refused_but_there
    return whole


def _print(told: list[_Told]) -> None:
    writes = Table("fault", "acknowledged", "refused", "unknown", "lost", "doubled", "refused, but there")
    reads = Table("fault", "reads", "no whole answer", "stale", "back in time", "foreign")
    for one in told:
        of_it = _sum(one.counts)
        figures = (
            of_it.acknowledged, of_it.refused, of_it.unknown,
            len(of_it.lost), len(of_it.doubled), len(of_it.refused_but_there),
        )  # fmt: skip
        writes.add_row(one.fault.name, *map(str, figures))
        seen = Seen()
        for kind in one.reads.values():
            seen.add(kind)
        shown = (seen.reads, seen.unanswered, len(seen.stale), len(seen.back), len(seen.foreign))
        reads.add_row(one.fault.name, *map(str, shown))
    for table in (writes, reads):
        Console(highlight=False).print(table)
