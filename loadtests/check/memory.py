"""What one person remembers: what they wrote and saw must not be taken back while they look.

Each thing has a number that only grows, such as that of a writer's newest article. A read that shows less than its
reader has written is stale; one that shows less than the reader has seen goes back in time.

A page that no cache keeps may be newer than one from the cache, for some milliseconds between a commit and the cache's
being told. So what a cache may keep is held against what was read from it before, and everything else against all.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Seen:
    """Of one kind of read: how many, how many of them had no whole answer, and what was wrong with the others."""

    reads: int = 0
    unanswered: int = 0
    stale: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.stale or self.back or self.foreign)

    def add(self, other: "Seen") -> None:
        self.reads += other.reads
        self.unanswered += other.unanswered
        self.stale += other.stale
        self.back += other.back
        self.foreign += other.foreign

    def record(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


class Memory:
    """Of one person, in one thread."""

    def __init__(self) -> None:
        self.kinds: dict[str, Seen] = {}
        self._written: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._seen_in_cache: dict[str, int] = {}

    def wrote(self, thing: str, number: int) -> None:
        """This was acknowledged."""
        self._written[thing] = number

    def saw(self, kind: str, thing: str, number: int, *, cached: bool) -> None:
        """A read of this kind showed the thing with this number; ``cached`` where a cache may keep it."""
        of_it = self._of(kind)
        of_it.reads += 1
        before = self._seen_in_cache if cached else self._seen
        if number < self._written.get(thing, number):
            of_it.stale.append(f"{thing}: {number}, after {self._written[thing]} was written")
        elif number < before.get(thing, number):
            of_it.back.append(f"{thing}: {number}, after {before[thing]} was seen")
        for memory in (self._seen, self._seen_in_cache) if cached else (self._seen,):
            memory[thing] = max(number, memory.get(thing, number))

    def saw_foreign(self, kind: str, what: str) -> None:
        """Something was in a list that does not belong there."""
        self._of(kind).foreign.append(what)

    def missed(self, kind: str, what: str) -> None:
        """Something was not there at all that the reader knows of."""
        of_it = self._of(kind)
        of_it.reads += 1
        of_it.stale.append(f"{what} is not there")

    def saw_nothing(self, kind: str) -> None:
        """There was no answer, or only a part of it."""
        self._of(kind).unanswered += 1

    def _of(self, kind: str) -> Seen:
        return self.kinds.setdefault(kind, Seen())


def added_up(memories: Iterable[Memory]) -> dict[str, Seen]:
    """What all of them saw, by kind."""
    total: dict[str, Seen] = {}
    for memory in memories:
        for kind, of_it in memory.kinds.items():
            total.setdefault(kind, Seen()).add(of_it)
    return total
