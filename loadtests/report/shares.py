"""What a run of `make stageN shares` found, in tables and sentences."""

from collections.abc import Iterator
from typing import Any

from loadtests.report.words import NONE, ms, percent, rate

# What the shares are called where people read them, in this order; others come behind as they are.
NAMES = {
    "HTML and assets": "HTML and assets",
    "covers served": "covers, served",
    "covers made": "covers, uploaded and made",
    "image": "images, by the app's count",
    "drop": "covers deleted, by the app's count",
    "mail": "mail to followers, by the app's count",
    "report": "reports, by the app's count",
    "at rest": "without any load",
    "the rest": "all else: the API",
}
Rows = list[list[str]]


def tables(run: dict[str, Any]) -> Iterator[tuple[list[str], Rows]]:
    """The shares of each box, and, where people sent one request after another, how long that took: head and rows."""
    if run["shares"]:
        yield shares_table(run)
    if run["journeys"]:
        yield journeys_table(run)


def shares_table(run: dict[str, Any]) -> tuple[list[str], Rows]:
    """A row for what takes CPU, a column for each box; with the range of the rounds."""
    boxes = list(run["shares"])
    found = [name for box in boxes for name in run["shares"][box]]
    names = in_order(set(found))
    head = [f"share of the CPU used, {run['mix']['name']}", *boxes]
    rows = [[NAMES.get(name, name), *(share(run["shares"][box].get(name)) for box in boxes)] for name in names]
    return head, rows


def in_order(found: set[str]) -> list[str]:
    """The names of shares as people read them, one after another."""
    return [*(name for name in NAMES if name in found), *sorted(found - set(NAMES))]


def journeys_table(run: dict[str, Any]) -> tuple[list[str], Rows]:
    """A row for each load: alone, which is light, and within the whole mix."""
    head = ["", "a minute", "busiest box", "how many", "p50", "p95", "longest"]
    rows = [
        [
            row["name"] + ("" if row["among"] == "alone" else f", within {run['mix']['name']}"),
            rate(row["a_minute"]),
            percent(row["utilisation"]),
            str(row["count"]) + (f", {row['failed']} failed" if row["failed"] else ""),
            *(f"{ms(row[figure])} ms" for figure in ("p50", "p95", "max")),
        ]
        for row in run["journeys"]
    ]
    return head, rows


def notes(run: dict[str, Any]) -> list[str]:
    """At what load this was measured, and what to know before believing it."""
    views = f", {rate(run['page_views'])} page views/s" if run["page_views"] else ""
    whole = [trial for trial in run["trials"] if trial["variant"] == "whole" and trial["round"] is not None]
    busy = "; ".join(
        f"{box['name']} {percent(_mean([trial['boxes'][box['name']]['utilisation'] for trial in whole]))} busy"
        for box in run["boxes"]
        if whole
    )
    found = [f"At {rate(run.get('rate'))} requests/s{views}: {busy}."] if whole else []
    if not run["complete"]:
        found.append(f"This run is incomplete: {run['why_incomplete']}.")
    judged = [trial for trial in run["trials"] if not trial["variant"].startswith("probe")]
    limited = [trial for trial in judged if not trial["valid"]]
    if limited:
        said = ", ".join(sorted({limit for trial in limited for limit in trial["limits"]}))
        found.append(f"Limited by what measures, in {len(limited)} of {len(judged)} trials: {said}.")
    # Uploads alone are slower than the SLO however light the load; that is what their own table is for.
    failed = [trial for trial in judged if trial["failures"] and trial["variant"] != "alone"]
    if failed:
        said = ", ".join(sorted({failure for trial in failed for failure in trial["failures"]}))
        found.append(f"Beyond what the stage holds, in {len(failed)} of {len(judged)} trials: {said}.")
    return found


def share(found: dict[str, float] | None) -> str:
    """A share in words: its mean, and the range of the rounds where they differ."""
    if found is None:
        return NONE
    if found["high"] - found["low"] < 0.005:
        return percent(found["mean"])
    return f"{percent(found['mean'])} ({percent(found['low'])} to {percent(found['high'])})"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
