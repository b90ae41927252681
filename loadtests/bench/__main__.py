"""``make bench``: the CPU that a request costs the app, beside an earlier commit, FastAPI alone and a floor.

All of them (``loadtests.bench.targets``) have boxes of one size on stage 2's network and share its database, and are
asked in turns in one run. Raw samples go to ``runs/<time>-bench/bench.json``.
"""

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from infra.stage import lifecycle, tools, topology
from infra.stage.problems import Problem
from infra.stage.shell import compose
from loadtests.bench.targets import APP, Target, remove, start, targets
from loadtests.ceiling.record import commit

# The last commit whose routes were Starlette's: what compiling FastAPI's costs is measured beside it.
BEFORE = "9d716e5"
CASES = ("article, anonymous", "article, signed in", "list of 20, anonymous", "list of 20, signed in", "feed")
_STAGE = 2


def main() -> int:
    rounds = int(os.environ.get("ROUNDS", "5"))
    seconds = float(os.environ.get("SECONDS_EACH", "4"))
    os.environ.update(tools.NO_LIMITS)
    lifecycle.up(_STAGE)
    tools.seed(_STAGE, os.environ.get("SIZE", "medium"), replace=False)
    stage = topology.read(_STAGE)
    measured = targets(os.environ.get("BEFORE", BEFORE))
    try:
        for target in measured:
            if target.host != APP:
                start(stage, target)
        samples = _measure(stage, measured, rounds, seconds)
    finally:
        for target in measured:
            remove(target)
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-bench"
    folder.mkdir(parents=True, exist_ok=True)
    raw = {
        "machine": _machine(),
        "commit": commit(),
        "before": os.environ.get("BEFORE", BEFORE),
        "boxes": {name: asdict(box) for name, box in stage.boxes.items()},
        "size": os.environ.get("SIZE", "medium"),
        "rounds": rounds,
        "seconds_each": seconds,
        "samples": samples,
    }
    (folder / "bench.json").write_text(json.dumps(raw, indent=1))
    print(table(samples))
    print(f"\nRaw data: {folder / 'bench.json'}. Microseconds depend on the machine; ratios hold on any.")
    return 0


def _measure(stage: topology.Topology, measured: list[Target], rounds: int, seconds: float) -> list[dict[str, Any]]:
    names = {target.host: target.name for target in measured}
    client = ["python", "-m", "loadtests.bench.client", "--targets", *names]
    client += ["--rounds", str(rounds), "--seconds", str(seconds)]
    client += ["--database", stage.database_urls()[0].partition("=")[2]]
    samples: list[dict[str, Any]] = []
    command = [*compose(_STAGE, "run", "--rm", "-T", "--no-deps", "tools"), *client]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            found["target"] = names[found["target"]]
            samples.append(found)
            cost = "failed" if found["failed"] else f"{1e6 / found['per_cpu_second']:.0f} us"
            print(f"round {found['round'] + 1}  {found['case']:24} {found['target']:7} {cost}")
    if process.returncode:
        raise Problem("The bench's client stopped; why is above.")
    return samples


def table(samples: list[dict[str, Any]]) -> str:
    """Microseconds of CPU a request: medians over the rounds, and medians of the app's ratio to each other target."""
    costs: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    failed = [found for found in samples if found["failed"] or not found["per_cpu_second"]]
    for found in samples:
        if found not in failed:
            costs[found["case"], found["target"]][found["round"]] = 1e6 / found["per_cpu_second"]
    names = list(dict.fromkeys(found["target"] for found in samples))
    others = [name for name in names if name != "app"]
    head = f"{'us of CPU a request':24}" + "".join(f"{name:>9}" for name in names)
    lines = [head + "".join(f"{f'app/{name}':>12}" for name in others)]
    for case in CASES:
        line = f"{case:24}" + "".join(f"{median(costs[case, name].values()):9.0f}" for name in names)
        for other in others:
            app, theirs = costs[case, "app"], costs[case, other]
            line += f"{median(app[number] / theirs[number] for number in app.keys() & theirs.keys()):12.2f}"
        lines.append(line)
    if failed:
        lines.append(f"{len(failed)} samples with failed requests are left out.")
    return "\n".join(["", *lines])


def _machine() -> dict[str, Any]:
    load = os.getloadavg()
    return {"platform": platform.platform(), "cores": os.cpu_count(), "load_average": load, "python": sys.version}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
