"""What an experiment came to, and the figures that several of them take from a generator's result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.ceiling.verdict import outcome

# HTTP's (RFC 9110, 9.2.2), by which a balancer decides what it may send to another box once more.
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Verdict:
    """``held`` says whether what the stage promises held; None where the experiment could not tell."""

    held: bool | None
    sentence: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    """Figures in words, each with its name."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The same as numbers."""

    def record(self) -> dict[str, Any]:
        """For the record of the run."""
        return {
            "held": self.held,
            "sentence": self.sentence,
            "facts": [list(fact) for fact in self.facts],
            "figures": self.figures,
        }


@dataclass(frozen=True)
class Failures:
    """Requests and how many of them failed: idempotent ones, and others."""

    idempotent: int = 0
    idempotent_failed: int = 0
    others: int = 0
    others_failed: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Failures by what went wrong."""

    @property
    def failed(self) -> int:
        """All that failed."""
        return self.idempotent_failed + self.others_failed

    def facts(self) -> list[tuple[str, str]]:
        """In words."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in self.kinds.items())
        return [
            ("idempotent requests failed", f"{self.idempotent_failed} of {self.idempotent}"),
            ("other requests failed", f"{self.others_failed} of {self.others}"),
            *([("of what", kinds)] if kinds else []),
        ]


def failures(routes: Mapping[str, Mapping[str, Any]]) -> Failures:
    """Of a result's routes, each named by its method and its path. What was never sent has no method."""
    counts = {True: [0, 0], False: [0, 0]}
    kinds: dict[str, int] = {}
    for route, found in routes.items():
        method, _, path = route.partition(" ")
        if not path.startswith("/"):
            continue
        counts[method in IDEMPOTENT][0] += found["sent"]
        counts[method in IDEMPOTENT][1] += sum(found["errors"].values())
        for kind, count in found["errors"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    (idempotent, idempotent_failed), (others, others_failed) = counts[True], counts[False]
    ordered = dict(sorted(kinds.items(), key=lambda item: -item[1]))
    return Failures(idempotent, idempotent_failed, others, others_failed, ordered)


def limits(result: dict[str, Any], rate: float) -> list[str]:
    """What besides the stage limited a load, so that its waits are not the stage's alone."""
    return outcome(result, rate, None).limits()


def times(seconds: Iterable[float]) -> str:
    """Seconds in words, one by one where they are few, else the longest."""
    found = list(seconds)
    if len(found) > 5:
        return f"{sum(found) / len(found):.1f} s on average, {max(found):.1f} s at most"
    return ", ".join(f"{one:.1f} s" for one in found) or "never"
