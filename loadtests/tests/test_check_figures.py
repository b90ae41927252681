"""The row of a fault in the docs, by hand."""

from typing import Any

import pytest

from loadtests.check.figures import HEAD, lines


def run(sync: str, read_your_writes: bool) -> dict[str, Any]:
    writes = {"acknowledged": 700, "refused": 1, "unknown": 2, "lost": ["one"], "doubled": [], "refused_but_there": []}
    reads = {"reads": 1_500, "unanswered": 9, "stale": ["a", "b"], "back": ["c"], "foreign": []}
    trial = {"fault": "nothing", "counts": {"article": writes, "comment": writes}, "reads": {"feed": reads}}
    return {"sync": sync, "read_your_writes": read_your_writes, "trials": [trial, trial]}


@pytest.mark.parametrize(
    ("sync", "pins", "said"),
    [("off", True, "pins, asynchronous"), ("on", False, "no pins, synchronous"), ("", True, "–")],
)
def test_all_kinds_of_a_fault_are_added_up(sync: str, pins: bool, said: str) -> None:
    row = ["nothing", said, "1,400", "4", "2", "0", "1,500", "2", "1"]
    assert lines(run(sync, pins)) == [row, row]
    assert len(row) == len(HEAD)
