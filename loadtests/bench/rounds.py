"""What benchmarks of a sharded stage have in common: which stage it is, forms by turns, what is kept of each trial."""

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from infra.stage import topology
from infra.stage.problems import Problem
from infra.stage.topology import Topology
from loadtests.ceiling.boxes import Box, Boxes
from loadtests.ceiling.record import commit, machine

ROUNDS = 5
Form = TypeVar("Form")
Trial = dict[str, Any]


def sharded(words: Sequence[str], what: str) -> Topology:
    """The stage that was named for `bench-WHAT`. Raises Problem where that has no shards."""
    if len(words) != 1:
        raise Problem("Which stage is to be measured?", f"Say: make stage5 bench-{what}", status=2)
    stage = topology.read(int(words[0].removeprefix("stage")))
    if not stage.is_sharded:
        said = f"Stage {stage.number} has one database, and no replica of it."
        raise Problem(said, f"Stage 5 has more: make stage5 bench-{what}", status=2)
    return stage


class Rounds:
    """The trials of one benchmark, kept in ``runs/<time>-WHAT/run.json`` from the first on."""

    def __init__(self, stage: Topology, what: str) -> None:
        found = Boxes(stage.project)
        self.boxes: dict[str, Box] = {box.service: box for box in found.boxes}
        self.trials: list[Trial] = []
        self.run = {"stage": stage.number, "commit": commit(), "machine": machine(found.info, found.version)}
        self.run |= {"quota": found.capacity(), "sync": stage.sync, "trials": self.trials}
        self._folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{what}"
        self._folder.mkdir(parents=True)

    def by_turns(self, forms: Sequence[Form]) -> Iterator[tuple[int, Form]]:
        """Each form in each round, the other way round in every other one, so that no drift is in one's favour."""
        for place in range(ROUNDS):
            for form in forms if place % 2 == 0 else forms[::-1]:
                yield place, form

    def keep(self, trial: Trial, said: str) -> None:
        """And tell it in a line."""
        self.trials.append(trial)
        (self._folder / "run.json").write_text(json.dumps(self.run, indent=1) + "\n")
        print(f"round {trial['round'] + 1}  {said}", flush=True)

    @property
    def kept(self) -> str:
        """Where, for whoever reads the figures."""
        return f"\nRaw data: {self._folder / 'run.json'}"


def exit_of(main: Callable[[list[str]], int], *errors: type[Exception]) -> int:
    """The exit code of a benchmark; what is in its way is told in a line."""
    try:
        return main(sys.argv[1:])
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.status
    except errors as error:
        print(error, file=sys.stderr)
        return 1
