"""Which stages there are: a stage is a compose file."""

import re
from pathlib import Path

from infra.stage.problems import Problem

ROOT = Path(__file__).resolve().parents[2]
# The whole way, so that a stage that is not there yet is told from one that never will be.
PLANNED = {
    1: "single box",
    2: "split database",
    3: "cache and load balancer",
    4: "CDN and queue",
    5: "replicas and shards",
    6: "CQRS, two regions",
}
VERBS = (
    *("up", "down", "status", "logs", "seed", "load", "ceiling", "shares", "experiment", "import", "diff"),
    *("check", "nginx", "rolling-restart", "queue", "failover", "switchover"),
)


def compose_file(number: int) -> Path:
    """Where the stage's compose file is, whether it is there or not."""
    return ROOT / f"docker-compose.stage{number}.yml"


def more_boxes(number: int) -> Path:
    """Where `up APPS=4` leaves the boxes that the compose file does not have; there is no such file otherwise."""
    return ROOT / ".stages" / f"stage{number}.yml"


def files(number: int) -> list[str]:
    """The compose files that a stage consists of, as one gives them to Compose from the root."""
    return [str(path.relative_to(ROOT)) for path in (compose_file(number), more_boxes(number)) if path.exists()]


def available() -> list[int]:
    """The numbers of the stages that can be started, lowest first."""
    return [number for number in PLANNED if compose_file(number).exists()]


def possible() -> str:
    """What can be typed, for error messages."""
    names = ", ".join(f"stage{number} ({PLANNED[number]})" for number in available())
    return f"Stages: {names}. Verbs: {', '.join(VERBS)}. For example: make stage1 up"


def parse(word: str) -> int:
    """The number in "stage1" or "1". Raises Problem for a stage that is not there."""
    match = re.fullmatch(r"(?:stage)?([0-9]+)", word)
    number = int(match.group(1)) if match else 0
    if number in available():
        return number
    if number in PLANNED:
        raise Problem(f"Stage {number} ({PLANNED[number]}) is planned, but not there yet.", possible(), status=2)
    raise Problem(f"There is no '{word}'.", possible(), status=2)


def one(words: list[str], verb: str) -> int:
    """The one stage that a verb was typed with. Raises Problem for none and for several."""
    numbers = [parse(word) for word in words]
    if not numbers:
        raise Problem(f"Which stage? {verb} needs one, as in: make stage1 {verb}", possible(), status=2)
    if len(set(numbers)) > 1:
        listed = "; ".join(f"make stage{number} {verb}" for number in numbers)
        raise Problem(f"One stage at a time: {listed}", status=2)
    return numbers[0]
