"""`python -m infra.stage VERB STAGE`: reads the words, calls the verb, prints what went wrong in a line or two."""

import argparse
import difflib
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from infra.stage import backlog, box, checks, engine, failover, lifecycle, nginx, rolling, stages, tools
from infra.stage.problems import Problem

SIZES = ("small", "medium", "large")
MIXES = ("browse", "read-mostly", "pages", "publish", "feed", "login", "spike")
MIXES_WITH_PARTS = ("pages", "publish")
EXPERIMENTS = ("stampede", "kill", "restart", "cache", "queue", "publishing")
SEVERAL = (
    "Name two stages or more, each once, as in: "
    'make transitions STAGES="3 4", or make compare A=stage3 B=stage4 MEASURE=1'
)
INTERRUPTED = 130

Given = ParamSpec("Given")
Status = TypeVar("Status")


def main(words: list[str]) -> int:
    """Run one command and return its exit status."""
    try:
        options = _parser().parse_args(words)
        status = _commands()[options.verb](options) or 0
        sys.stdout.flush()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        print("\nInterrupted. You can run the same command again.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough, as `head -1` does; what is not written yet must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infra.stage", allow_abbrev=False)
    parser.add_argument("verb", choices=sorted(_commands()))
    parser.add_argument("stages", nargs="*")
    parser.add_argument("--apps", default="")
    parser.add_argument("--same-apps", action="store_true")
    parser.add_argument("--volumes", action="store_true")
    parser.add_argument("--size", default="small")
    parser.add_argument("--mix", default="")
    parser.add_argument("--rate", default="")
    parser.add_argument("--what", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--strangers", action="store_true")
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--from", dest="source", default="")
    parser.add_argument("--retry", default="")
    parser.add_argument("--shard", default="")
    parser.add_argument("--fault", default="")
    parser.add_argument("--cpu", default="")
    parser.add_argument("--period", default="")
    parser.add_argument("--cores", default="")
    parser.add_argument("--a", default="")
    parser.add_argument("--b", default="")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--only", default="")
    return parser


def _commands() -> dict[str, Callable[[argparse.Namespace], int | None]]:
    """Verb to function. A stage's number, a size and a mix are checked before anything is done, Docker next."""
    return {
        "up": lambda given: _with_docker(lifecycle.up)(_stage(given), None if given.same_apps else given.apps),
        "down": lambda given: _with_docker(lifecycle.down)(_stage(given), given.volumes),
        "status": lambda given: _with_docker(lifecycle.status)(_stage(given)),
        "logs": lambda given: _with_docker(lifecycle.logs)(_stage(given)),
        "seed": lambda given: _with_docker(tools.seed)(
            _stage(given), _one_of("SIZE", given.size, SIZES), given.replace
        ),
        "load": lambda given: _with_docker(tools.load)(_stage(given), _one_of("MIX", given.mix or "browse", MIXES)),
        "ceiling": lambda given: _with_docker(tools.ceiling)(
            _stage(given), _one_of("MIX", given.mix or "browse", MIXES), given.quick, given.strangers
        ),
        "shares": lambda given: _with_docker(tools.shares)(
            _stage(given), _one_of("MIX", given.mix or "pages", MIXES_WITH_PARTS), given.quick, _rate(given)
        ),
        "experiment": lambda given: _with_docker(tools.experiment)(
            _stage(given), _one_of("WHAT", given.what, EXPERIMENTS), given.quick, _rate(given)
        ),
        "check": lambda given: _with_docker(tools.check)(_stage(given), given.quick, given.fault),
        "import": lambda given: _with_docker(tools.bring_over)(_stage(given), _source(given), given.replace),
        "nginx": lambda given: _with_docker(nginx.show)(_stage(given)),
        "rolling-restart": lambda given: _with_docker(rolling.restart)(_stage(given)),
        "queue": lambda given: _with_docker(backlog.show)(_stage(given), given.retry),
        "failover": lambda given: _with_docker(failover.failover)(_stage(given), given.shard),
        "switchover": lambda given: _with_docker(failover.switchover)(_stage(given), given.shard),
        "diff": lambda given: diff(_stage(given)),
        "compare": compare,
        "transitions": transitions,
        "box": lambda given: box.main(given.cpu, given.period, given.cores),
        "doctor": lambda _: doctor(),
        "verbs": lambda given: verbs(_stage(given)),
    }


def _with_docker(verb: Callable[Given, Status]) -> Callable[Given, Status]:
    """A verb that asks first whether Docker can be used: Compose's own words do not tell why it cannot."""

    @functools.wraps(verb)
    def asked(*given: Given.args, **named: Given.kwargs) -> Status:
        engine.usable()
        return verb(*given, **named)

    return asked


def diff(number: int) -> None:
    """Print what the stage's compose file changes in the one before."""
    if number == 1:
        print("Stage 1 is the first stage. Its description is at the top of docker-compose.stage1.yml")
        return
    before, after = stages.compose_file(number - 1), stages.compose_file(number)
    lines = difflib.unified_diff(
        before.read_text().splitlines(), after.read_text().splitlines(), before.name, after.name, lineterm=""
    )
    colours = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"} if sys.stdout.isatty() else {}
    for line in lines:
        colour = colours.get(line[:1], "")
        print(f"{colour}{line}\033[0m" if colour else line)


def compare(given: argparse.Namespace) -> int:
    """Put the newest ceilings of two stages side by side, or measure both in turn."""
    if not given.a or not given.b:
        raise Problem("Compare what? For example: make compare A=stage1 B=stage2", status=2)
    if not given.measure:
        from loadtests.compare import main as side_by_side  # noqa: PLC0415 - only this verb needs it

        return side_by_side(given.a, given.b)
    return _in_turn([given.a, given.b], given)


def transitions(given: argparse.Namespace) -> int:
    """Measure stages in turn, lowest first: all that there are, or those that were named."""
    words = [*given.stages, *given.only.split()] or [f"stage{number}" for number in stages.available()]
    return _in_turn(sorted(words, key=stages.parse), given)


def _in_turn(words: list[str], given: argparse.Namespace) -> int:
    numbers = [stages.parse(word) for word in words]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise Problem(f"Stage {twice[0]} is named twice.", SEVERAL, status=2)
    if len(numbers) < 2:
        raise Problem(f"Stage {numbers[0]} alone makes no step.", SEVERAL, status=2)
    mix = _one_of("MIX", given.mix or "browse", MIXES)
    # Its libraries take a second.
    from loadtests.load import mixes  # noqa: PLC0415
    from loadtests.turns.cli import main as in_turn  # noqa: PLC0415

    if not mixes.load(mix).steady:
        possible = f"Possible: {', '.join(mixes.steady())}"
        raise Problem(f"MIX={mix} changes its rate, so it has no ceiling.", possible, status=2)
    return _with_docker(in_turn)(numbers, mix, given.quick)


def doctor() -> int:
    """Print every check with its remedy; 1 when something needs one."""
    ill = 0
    for finding in checks.doctor():
        print(f"  {'!' if finding.remedy else 'ok':<3} {finding.what:<15} {finding.found}", flush=True)
        ill += bool(finding.remedy)
        if more := finding.remedy or finding.advice:
            print(f"      {'':<14} {more}")
    print("Everything is fine." if not ill else f"{ill} to fix; the remedy is below each.")
    return 1 if ill else 0


def verbs(number: int) -> int:
    """A stage without a verb: say what can be done with it."""
    print(f"What with stage {number} ({stages.PLANNED[number]})?", file=sys.stderr)
    for verb in stages.VERBS:
        print(f"  make stage{number} {verb}", file=sys.stderr)
    return 2


def _stage(given: argparse.Namespace) -> int:
    return stages.one(given.stages, given.verb)


def _source(given: argparse.Namespace) -> int:
    if not given.source:
        raise Problem("From which stage? For example: make stage2 import FROM=stage1", status=2)
    return stages.parse(given.source)


def _rate(given: argparse.Namespace) -> float | None:
    """Requests/s, or None where none was given."""
    try:
        rate = float(given.rate) if given.rate else None
    except ValueError:
        rate = -1.0
    if rate is not None and not 0 < rate < float("inf"):
        raise Problem(f"RATE={given.rate} is not a rate.", "Give requests per second, as in: RATE=40", status=2)
    return rate


def _one_of(name: str, value: str, possible: tuple[str, ...]) -> str:
    if value not in possible:
        raise Problem(f"There is no {name}={value}.", f"Possible: {', '.join(possible)}", status=2)
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
