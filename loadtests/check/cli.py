"""`make stageN check`: each fault in turn under writers; then every write is looked for."""

import sys
import time
from collections import Counter
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from infra.stage import topology
from loadtests.ceiling.boxes import Boxes, DockerUnreachableError, StageDownError
from loadtests.ceiling.record import Run, machine, now
from loadtests.ceiling.stage import INTERRUPTED, StageCommandError, interruptible, run
from loadtests.check.faults import FAULTS, healthy
from loadtests.check.ledger import ACKNOWLEDGED, Count, count, idle_kinds
from loadtests.check.writers import NotReadableError, Reader, Writer, writing
from loadtests.experiments.scene import CannotError

WRITERS = 4
QUICK_WRITERS = 2
# Of writing before the fault begins, and after it has ended.
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 6.0
FAILED = 1


def main(stage: int, quick: bool = False) -> int:
    """Cause the stage's faults, one after another, while people write.

    Returns the exit code: 0 where nothing acknowledged was lost, nothing is there twice and nothing that was refused is
    there; 1 where that does not hold or the check cannot be done; 130 interrupted.
    """
    interruptible()
    try:
        run("up", stage, "--same-apps")
        print(f"Its limits are off for this; to have them back: make stage{stage} up", file=sys.stderr)
        return _check(stage, QUICK_WRITERS if quick else WRITERS)
    except KeyboardInterrupt:
        print(f"Interrupted. To have the stage as it was: make stage{stage} up", file=sys.stderr)
        return INTERRUPTED
    except (CannotError, NotReadableError, DockerUnreachableError, StageDownError, httpx.HTTPError) as error:
        print(f"{error}\nWhat runs, and how it is: make stage{stage} status", file=sys.stderr)
        return FAILED
    except StageCommandError:
        return FAILED


def _check(stage: int, writers: int) -> int:
    found = topology.read(stage)
    all_boxes = Boxes(found.project)
    boxes = {box.service: box for box in all_boxes.boxes}
    record = Run(stage, "check")
    record.data |= {"kind": "check", "machine": machine(all_boxes.info, all_boxes.version), "writers": writers}
    console = Console(file=sys.stderr, highlight=False)
    total: dict[str, Count] = {}
    idle: list[str] = []
    for fault in FAULTS:
        if not fault.possible(boxes):
            continue
        console.print(f"Stage {stage}: {writers} writers, {fault.name}", markup=False)
        people = [Writer(found.url) for _ in range(writers)]
        # Only a queue promises a mail for each article; without one a mail may be left out.
        reader = Reader(found.url, found.page_urls["mail"], people) if found.worker else None
        try:
            with writing(people, fault.hang_up):
                time.sleep(BEFORE_SECONDS)
                fault.cause(boxes)
                time.sleep(AFTER_SECONDS)
            if not healthy(boxes):
                raise CannotError(f"The stage is not healthy after: {fault.name}.")
            counts = _counted(people, reader)
        finally:
            for person in people:
                person.close()
            if reader:
                reader.close()
        counted = {kind: one.record() for kind, one in counts.items()}
        record.data["trials"].append({"fault": fault.name, "counts": counted})
        record.save()
        total[fault.name] = _sum(counts)
        idle += [f"{kind} at: {fault.name}" for kind in idle_kinds(counts)]
    record.data |= {"complete": True, "why_incomplete": None, "ended": now()}
    record.save()
    _print(total)
    held = all(one.holds for one in total.values())
    if idle:
        print(f"No verdict: nothing was acknowledged, so that nothing could be lost ({', '.join(idle)}).")
    elif held:
        print("Held: nothing acknowledged is lost, nothing is there twice.")
    else:
        print("Not held; the keys are in the data.")
    print(f"Raw data: {record.folder.relative_to(record.folder.parents[1])}/run.json")
    return 0 if held and not idle else FAILED


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


def _print(total: dict[str, Count]) -> None:
    table = Table("fault", "acknowledged", "refused", "unknown", "lost", "doubled", "refused, but there")
    for name, one in total.items():
        figures = (
            one.acknowledged, one.refused, one.unknown, len(one.lost), len(one.doubled), len(one.refused_but_there),
        )  # fmt: skip
        table.add_row(name, *map(str, figures))
    Console(highlight=False).print(table)
