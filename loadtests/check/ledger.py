"""What writers were told of each write, against what the stage shows when it is well again.

Nothing that was acknowledged may be lost, nothing may be there twice, and nothing that was refused may be there. Of a
write whose answer never came, either may be.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
_TOO_LATE = {408, 499}


def outcome(status: int | None) -> str:
    """What an answer says of its write; None where none came. A 5xx may follow a commit: it says nothing."""
    if status is None or status >= 500 or status in _TOO_LATE:
        return UNKNOWN
    return ACKNOWLEDGED if status < 300 else REFUSED


class Creation(NamedTuple):
    """Something new was to be there, such as an article; ``key`` is in it and in nothing else."""

    kind: str
    key: str
    outcome: str


class Change(NamedTuple):
    """Something was to have this ``value`` from then on, such as a favourite that is set or taken back."""

    kind: str
    key: str
    value: Any
    outcome: str


@dataclass
class Count:
    """Of one kind of write."""

    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    refused_but_there: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the stage kept its word."""
        return not (self.lost or self.doubled or self.refused_but_there)

    def add(self, outcome: str) -> None:
        """One more write that was told so."""
        setattr(self, outcome, getattr(self, outcome) + 1)

    def record(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)


def idle_kinds(counts: Mapping[str, Count]) -> list[str]:
    """The kinds of which nothing was acknowledged; a whole ledger of nothing is one, too."""
    return [kind for kind, of_it in counts.items() if not of_it.acknowledged] if counts else ["any write"]


def count(
    creations: Iterable[Creation],
    there: Mapping[str, int],
    changes: Iterable[Change] = (),
    shown: Mapping[tuple[str, str], Any] | None = None,
) -> dict[str, Count]:
    """By kind, what became of the writes. ``there`` is how often each key was found, ``shown`` the value by kind and
    key; what has none has None.
    """
    counts: dict[str, Count] = {}
    for creation in creations:
        found, of_it = there.get(creation.key, 0), counts.setdefault(creation.kind, Count())
        of_it.add(creation.outcome)
        if creation.outcome == ACKNOWLEDGED and not found:
            of_it.lost.append(creation.key)
        if creation.outcome == REFUSED and found:
            of_it.refused_but_there.append(creation.key)
        if found > 1:
            of_it.doubled.append(creation.key)
    possible: dict[tuple[str, str], set[Any]] = {}
    for change in changes:
        counts.setdefault(change.kind, Count()).add(change.outcome)
        before = possible.get((change.kind, change.key), {None})
        possible[change.kind, change.key] = _after(before, change)
    for (kind, key), values in possible.items():
        if (shown or {}).get((kind, key)) not in values:
            counts[kind].lost.append(key)
    return counts


def _after(before: Collection[Any], change: Change) -> set[Any]:
    """The values that may be shown after a change, by those before it."""
    if change.outcome == ACKNOWLEDGED:
        return {change.value}
    return {*before} if change.outcome == REFUSED else {*before, change.value}
