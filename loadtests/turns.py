"""`make compare A=stage2 B=stage3 MEASURE=1 QUICK=1`: both stages are up, and measured in turn, A B B A.

A machine's speed changes from minute to minute, on a shared one by a tenth and more. What changes evenly is in both
stages' figures alike then, and the two ratios tell how much is left.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.ceiling import cli
from loadtests.ceiling.record import RUNS, Run, now
from loadtests.ceiling.stage import INTERRUPTED, StageCommandError, interruptible, run
from loadtests.compare import IncomparableError, candidates, differences

ORDER = ("a", "b", "b", "a")
SAME = "Two different stages are compared: make compare A=stage2 B=stage3 MEASURE=1"
TWO_SIDED_95 = 1.96
MINUTES_A_TURN = {True: 4, False: 14}


class Ratio(NamedTuple):
    """B's ceiling over A's, with the interval that covers it 95 times in 100, and the two ratios it is made of."""

    middle: float
    low: float
    high: float
    pairs: tuple[float, float]


def ratio(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Ratio:
    """Of two ceilings of each stage, as run.json has them (``rate``, ``low``, ``high`` in requests/s), in their order.

    The middle is the geometric mean of the pairs. Its standard error is the larger one of two: what the four intervals
    say, and by how much the two pairs differ.
    """
    pairs = tuple(second["rate"] / first["rate"] for first, second in zip(a, b, strict=True))
    logs = [math.log(one) for one in pairs]
    middle = sum(logs) / 2
    of_intervals = math.hypot(*(math.log(one["high"] / one["low"]) for one in (*a, *b))) / (2 * TWO_SIDED_95) / 2
    of_pairs = abs(logs[0] - logs[1]) / 2
    off = TWO_SIDED_95 * max(of_intervals, of_pairs)
    return Ratio(math.exp(middle), math.exp(middle - off), math.exp(middle + off), (pairs[0], pairs[1]))


def main(a: str, b: str, mix: str = "browse", quick: bool = False) -> int:
    """Measure and compare.

    Returns the exit code: 0, 1 where it cannot be done, 2 for what was typed, 3 without a verdict, 130 interrupted.
    """
    try:
        numbers = {"a": _number(a), "b": _number(b)}
        if numbers["a"] == numbers["b"]:
            raise IncomparableError(SAME)  # noqa: TRY301 - told as what is no stage
    except IncomparableError as error:
        print(error, file=sys.stderr)
        return 2
    interruptible()
    shorter = "" if quick else "; QUICK=1 is shorter"
    print(f"Four searches of some {MINUTES_A_TURN[quick]} minutes each, in turn{shorter}.", file=sys.stderr)
    try:
        return _measure(numbers, mix, quick)
    except KeyboardInterrupt:
        print("Interrupted; the searches that were done are in runs/.", file=sys.stderr)
        return INTERRUPTED
    except IncomparableError as error:
        print(error, file=sys.stderr)
        return 1
    except StageCommandError:
        return 1


def _measure(numbers: Mapping[str, int], mix: str, quick: bool) -> int:
    for number in numbers.values():
        run("up", number, "--same-apps")  # both, before the first is measured
    runs: list[dict[str, Any]] = []
    for place in ORDER:
        began = now()
        if code := cli.main(numbers[place], mix, quick):
            return code
        runs.append(_newest(numbers[place], mix, began))
        if len(runs) == 2 and (what := differences(runs[0], runs[1], in_turn=True)):
            raise IncomparableError(f"They cannot be compared: {'; '.join(what)}.")
    ceilings = [one["ceiling"] for one in runs]
    _tell(numbers, mix, ratio([ceilings[0], ceilings[3]], [ceilings[1], ceilings[2]]), runs)
    return 0


def _tell(numbers: Mapping[str, int], mix: str, found: Ratio, runs: Sequence[Mapping[str, Any]]) -> None:
    record = Run(numbers["b"], f"{mix}-turns-from-stage{numbers['a']}")
    record.data |= {
        "kind": "turns",
        "stages": [numbers["a"], numbers["b"]],
        "mix": mix,
        "runs": [one["folder"].name for one in runs],
        "ratio": found._asdict(),
        "complete": True,
        "why_incomplete": None,
        "ended": now(),
    }
    record.save()
    one, other = (f"{pair:.2f}" for pair in found.pairs)
    print(
        f"Stage {numbers['b']} holds {found.middle:.2f} times what stage {numbers['a']} does on {mix}, with 95 % "
        f"confidence {found.low:.2f} to {found.high:.2f} times (the two pairs: {one} and {other}).\n"
        f"Raw data: {record.folder.relative_to(RUNS.parent)}/run.json, which names the four runs"
    )


def _number(name: str) -> int:
    if name.startswith("stage") and name[5:].isdigit():
        return int(name[5:])
    raise IncomparableError(f"'{name}' is no stage: what is measured now are two stages, as stage2 and stage3.")


def _newest(number: int, mix: str, began: str) -> dict[str, Any]:
    newest = candidates(f"stage{number}", mix)[0]
    if newest["started"] < began:
        raise IncomparableError(f"The search of stage {number} left no record.")
    return newest
