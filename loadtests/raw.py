"""The raw data of a run, and what follows from them: two tables beside its run.json.

``requests.jsonl.gz`` has a row for each trial, second and route (``summary.seconds`` says of what),
``counters.jsonl.gz`` one for each trial, second and box, and the machine's and the canary's. ``trial`` is the place
in run.json's trials, ``t`` is in seconds after the window began. Rows with a ``mark`` are the readings between which
a trial's figures are. Rows with ``told``, before and after, are what an ``app`` had counted and how full a ``cache``
was at both ends of a trial, its warm-up included.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loadtests.load.histogram import merged, percentile
from loadtests.load.samples import REFUSED
from loadtests.observe.cache import Reads, held_between, reads_a_second
from loadtests.observe.readings import Load, Reading, load

REQUESTS, COUNTERS = "requests.jsonl.gz", "counters.jsonl.gz"
Row = dict[str, Any]


def append(folder: Path, trial: int, requests: Iterable[Row], counters: Iterable[Row]) -> None:
    """Add a trial's rows. Each trial is compressed by itself, so that an interrupted run keeps whole ones."""
    for name, rows in ((REQUESTS, requests), (COUNTERS, counters)):
        lines = "".join(json.dumps({"trial": trial} | row, separators=(",", ":")) + "\n" for row in rows)
        if lines:
            with (folder / name).open("ab") as file:
                file.write(gzip.compress(lines.encode()))


def requests(folder: Path) -> Iterator[Row]:
    """The rows of requests."""
    return _rows(folder / REQUESTS)


def counters(folder: Path) -> Iterator[Row]:
    """The rows of boxes, of the machine (``host``), of the canary, and of what apps and caches told."""
    return _rows(folder / COUNTERS)


def _rows(path: Path) -> Iterator[Row]:
    if path.exists():
        with gzip.open(path, "rt") as lines:
            for line in lines:
                yield json.loads(line)


def totals(rows: Iterable[Row], seconds: float) -> dict[str, Any]:
    """The figures of ``summary.totals``, from the rows of a window of so many seconds; leave out the warm-up's.

    Counts are exact, percentiles at most a bucket of the histogram too long.
    """
    counts, errors = Counter[str](), Counter[str]()
    waits: list[Mapping[str, int]] = []
    for row in rows:
        counts.update({name: row.get(name, 0) for name in ("offered", "answered", "completed", "good")})
        errors.update(row.get("errors", {}))
        waits.append(row.get("waits", {}))
    histogram = merged(waits)
    offered = counts["offered"]
    return {
        **counts,
        "sent": offered - errors[REFUSED],
        "errors": dict(errors.most_common()),
        "error_share": errors.total() / offered if offered else 0.0,
        "offered_rate": offered / seconds,
        "achieved_rate": counts["answered"] / seconds,
        "completed_rate": counts["completed"] / seconds,
        "goodput": counts["good"] / seconds,
        "p50": percentile(histogram, 0.5),
        "p95": percentile(histogram, 0.95),
        "p99": percentile(histogram, 0.99),
        "max": percentile(histogram, 1.0),
    }


def loads(rows: Iterable[Row], quotas: Mapping[str, float]) -> dict[str, Load]:
    """What each box did in a trial, from its rows of counters, by the quotas in CPUs."""
    marked: dict[str, dict[str, Reading]] = {}
    for row in rows:
        if "mark" in row and "box" in row:
            counted = {name: value for name, value in row.items() if name not in ("trial", "t", "mark", "box")}
            marked.setdefault(row["mark"], {})[row["box"]] = Reading(at=row["t"], **counted)
    after = marked.get("last") or marked["end"]
    return {box: load(reading, after[box], quotas[box]) for box, reading in marked["start"].items()}


def cache(rows: Iterable[Row]) -> dict[str, Any]:
    """What a trial saw of the caches, from its rows of counters: ``reads`` a second by kind and outcome, and what each
    cache ``held``. Empty where neither was told twice, as at a stage without a cache.
    """
    apps: dict[str, dict[str, tuple[float, Reads]]] = {"before": {}, "after": {}}
    caches: dict[str, dict[str, Row]] = {"before": {}, "after": {}}
    for row in rows:
        if "told" in row and "app" in row:
            apps[row["told"]][row["app"]] = row["t"], row["reads"]
        elif "told" in row:
            caches[row["told"]][row["cache"]] = row
    found = {"reads": reads_a_second(**apps), "held": held_between(**caches)}
    return found if any(found.values()) else {}
