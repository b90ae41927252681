"""``python -m loadtests.bench.failover stage5``: for how long a shard takes no writes while its primary changes.

Somebody comments on an article of the shard all the time, over HTTP, as anybody does. Then five times each, by turns: a
switchover in good order; a failover by command, which takes the lease away; and a primary that is killed and left alone
until its lease has expired. How long nobody's comment was acknowledged is what is reported, and how many that were
acknowledged are not there in the end.

What each did goes to ``runs/<time>-failover/run.json``.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import median
from typing import Any

import httpx

from infra.stage import failover, lifecycle
from infra.stage.topology import DIRECTORY, Topology
from infra.stage.waiting import until
from loadtests.bench.columns import aligned
from loadtests.bench.rounds import Rounds, exit_of, sharded
from loadtests.ceiling.boxes import Box
from loadtests.ceiling.stage import StageCommandError, run
from loadtests.check.person import PAST_ALL_IDS, NotReadableError, Person
from loadtests.experiments import harm, rows
from loadtests.experiments.scene import CannotError

SHARD = "shard1"
PAUSE_SECONDS = 0.05
# Of commenting before and after the change.
BESIDE_SECONDS = 3.0
WITHIN = 120.0
HEAD = ("the primary changes by", "seconds without writes, median", "the longest", "acknowledged", "of them lost")
KINDS = {
    "switchover": "a switchover",
    "command": "a failover by command",
    "alone": "its death, left alone",
}


def main(words: list[str]) -> int:
    """Measure, print and keep. Returns the exit code; raises Problem, and what may be in the way of a check."""
    stage = sharded(words, "failover")
    number = stage.number
    run("up", number, "--same-apps")
    rounds = Rounds(stage, "failover")
    boxes = rounds.boxes
    nodes = stage.databases[SHARD]
    ways: dict[str, Callable[[], None]] = {
        "switchover": lambda: failover.switchover(number, SHARD),
        "command": lambda: failover.failover(number, SHARD),
        "alone": lambda: _left_alone(boxes, nodes),
    }
    for place, kind in rounds.by_turns(list(KINDS)):
        _wait_until_well(stage, boxes, nodes)
        trial = _trial(stage, boxes, ways[kind])
        line = f"{KINDS[kind]:24} {trial['without_writes']:5.1f} s without writes"
        rounds.keep({"round": place, "kind": kind} | trial, line)
    print(aligned(HEAD, figures(rounds.trials)))
    print(f"{rounds.kept}    To have the stage's limits back: make stage{number} up")
    return 0


def _trial(stage: Topology, boxes: Mapping[str, Box], change: Callable[[], None]) -> dict[str, Any]:
    commenter = Commenter(stage.url, lambda slug: _server(boxes, slug) == SHARD)
    try:
        with commenter:
            time.sleep(BESIDE_SECONDS)
            change()
            time.sleep(BESIDE_SECONDS)
        there = commenter.there()
    finally:
        commenter.close()
    return {
        "without_writes": round(longest_pause([when for when, _ in commenter.acknowledged]), 3),
        "acknowledged": len(commenter.acknowledged),
        "lost": [text for _, text in commenter.acknowledged if text not in there],
    }


def _server(boxes: Mapping[str, Box], slug: str) -> str:
    """The server that holds an article."""
    logical = int(slug.rpartition("-")[2]) >> 6 & 63  # as conduit.ids has it
    placed = dict(line.split("\t") for line in rows.lines(boxes[DIRECTORY], "SELECT shard, server FROM placements"))
    return placed.get(str(logical), "")


def _left_alone(boxes: Mapping[str, Box], nodes: tuple[str, ...]) -> None:
    """Kill the primary, wait until the replica has taken over by itself, and start the former one again."""
    primary, replica = (boxes[find(boxes, nodes)] for find in (rows.primary, rows.replica))
    harm.leave_dead(primary)
    try:
        if not until(lambda: rows.lines(replica, rows.IS_REPLICA) == ["f"], WITHIN, 0.5):
            raise CannotError(f"{replica.name} was not promoted within {WITHIN:.0f} s.")
    finally:
        harm.start(primary)


def _wait_until_well(stage: Topology, boxes: Mapping[str, Box], nodes: tuple[str, ...]) -> None:
    """A primary, a replica that follows it, and an app that reaches them."""

    def is_well() -> bool:
        return lifecycle.is_up(stage) and rows.lines(boxes[rows.primary(boxes, nodes)], rows.FOLLOWED) == ["t"]

    if not until(is_well, WITHIN):
        raise CannotError(f"{SHARD} is not well after {WITHIN:.0f} s.")


class Commenter(Person):
    """Comments on an article of their own all the time; use it as a context manager.

    ``is_there`` says whether an article is on the server that is looked at; another one signs up until it is.
    """

    def __init__(self, url: str, is_there: Callable[[str], bool]) -> None:
        self.acknowledged: list[tuple[float, str]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._comment)
        while True:
            super().__init__(url)
            draft = {"title": "Commented on", "description": "d", "body": "b", "tagList": []}
            answer = self._http.post("/api/articles", json={"article": draft}).raise_for_status()
            self._path = f"/api/articles/{answer.json()['article']['slug']}/comments"
            if is_there(answer.json()["article"]["slug"]):
                return
            self.close()

    def __enter__(self) -> "Commenter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _comment(self) -> None:
        number = 0
        while not self._over.wait(PAUSE_SECONDS):
            number += 1
            answer = self._send("POST", self._path, {"comment": {"body": f"Number {number}"}})
            if answer is not None and answer.is_success:
                self.acknowledged.append((time.monotonic(), f"Number {number}"))

    def there(self) -> set[str]:
        """The comments that are there. Raises NotReadableError."""
        found: set[str] = set()
        before = PAST_ALL_IDS
        while page := (self._read(self._path, limit=100, before=before) or {"comments": []})["comments"]:
            found |= {comment["body"] for comment in page}
            before = page[-1]["id"]
        return found


def longest_pause(moments: list[float]) -> float:
    """Seconds between two that follow each other. Raises CannotError where there are not two."""
    if len(moments) < 2:
        raise CannotError("Nothing was acknowledged, so nobody knows for how long it was not.")
    return max(after - before for before, after in pairwise(sorted(moments)))


def figures(trials: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each way in which the primary changes."""
    found = []
    for kind, named in KINDS.items():
        if of_it := [one for one in trials if one["kind"] == kind]:
            pauses = [one["without_writes"] for one in of_it]
            acknowledged, lost = sum(one["acknowledged"] for one in of_it), sum(len(one["lost"]) for one in of_it)
            found.append([named, f"{median(pauses):.1f}", f"{max(pauses):.1f}", f"{acknowledged:,}", str(lost)])
    return found


if __name__ == "__main__":
    sys.exit(exit_of(main, CannotError, NotReadableError, StageCommandError, httpx.HTTPError))
