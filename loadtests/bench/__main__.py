"""``make bench``: the app's requests per CPU-second beside its floor, on stage 2's boxes, in one interleaved run.

The floor (``loadtests.bench.floor``) runs in a box of the same size beside the app. Raw samples go to
``runs/<time>-bench/bench.json``.
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
from infra.stage.shell import answer
from loadtests.ceiling.record import commit

# Requests per CPU-second that the app sets itself to reach: the article's mark is three times the best public
# Python backend's, which gave 746 on an article and 241 on a list of 20.
GOALS = {
    "article, anonymous": 2200,
    "article, signed in": 1700,
    "list of 20, anonymous": 1200,
    "list of 20, signed in": 900,
    "feed": 700,
}
_STAGE = 2
_FLOOR = "conduit-bench-floor"


def main() -> int:
    rounds = int(os.environ.get("ROUNDS", "5"))
    seconds = float(os.environ.get("SECONDS_EACH", "4"))
    os.environ.update(tools.NO_LIMITS)
    lifecycle.up(_STAGE)
    tools.seed(_STAGE, os.environ.get("SIZE", "medium"), replace=False)
    stage = topology.read(_STAGE)
    try:
        _start_floor(stage)
        samples = _measure(stage, rounds, seconds)
    finally:
        answer(["docker", "rm", "--force", _FLOOR])
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-bench"
    folder.mkdir(parents=True, exist_ok=True)
    raw = {
        "machine": _machine(),
        "commit": commit(),
        "boxes": {name: asdict(box) for name, box in stage.boxes.items()},
        "size": os.environ.get("SIZE", "medium"),
        "rounds": rounds,
        "seconds_each": seconds,
        "goals": GOALS,
        "samples": samples,
    }
    (folder / "bench.json").write_text(json.dumps(raw, indent=1))
    _print(samples)
    print(f"\nRaw data: {folder / 'bench.json'}. The goals are for a quiet core; the ratio holds on any.")
    return 0


def _start_floor(stage: topology.Topology) -> None:
    answer(["docker", "rm", "--force", _FLOOR])
    box = answer(
        ["docker", "inspect", "-f", "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}", stage.container("app")]
    )
    period, quota = box.stdout.split()
    url = stage.database_urls()[0].partition("=")[2]
    command = ["docker", "run", "--detach", "--name", _FLOOR, "--network", f"{stage.project}_default"]
    limits = ["--cpu-period", period, "--cpu-quota", quota, "--memory", "256m", "--user", "1000:1000"]
    given = ["--env-file", "secrets/boxes.env", "--env", f"DATABASE_URL={url}"]
    started = answer([*command, *limits, *given, tools.IMAGE, "python", "-m", "loadtests.bench.floor"])
    if started.returncode:
        raise Problem(started.stderr.strip(), "Check this machine with: make doctor")


def _measure(stage: topology.Topology, rounds: int, seconds: float) -> list[dict[str, Any]]:
    url = stage.database_urls()[0].partition("=")[2]
    targets = ["app", _FLOOR]
    client = ["python", "-m", "loadtests.bench.client", "--targets", *targets]
    client += ["--rounds", str(rounds), "--seconds", str(seconds), "--database", url]
    command = [
        "docker",
        "compose",
        "-f",
        f"docker-compose.stage{_STAGE}.yml",
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "tools",
    ]
    samples: list[dict[str, Any]] = []
    with subprocess.Popen([*command, *client], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            found["target"] = "floor" if found["target"] == _FLOOR else "app"
            samples.append(found)
            print(f"round {found['round'] + 1}  {found['case']:24} {found['target']:6} {found['per_cpu_second']}")
    if process.returncode:
        raise Problem("The bench's client stopped; why is above.")
    return samples


def _print(samples: list[dict[str, Any]]) -> None:
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    queries: dict[str, int] = {}
    by_round: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for found in samples:
        rates[found["case"], found["target"]].append(found["per_cpu_second"])
        by_round[found["round"], found["case"]][found["target"]] = found["per_cpu_second"]
        if found["target"] == "app":
            queries[found["case"]] = found["queries"]
    for (_, case), pair in by_round.items():
        if len(pair) == 2:
            ratios[case].append(pair["app"] / pair["floor"])
    print(f"\n{'requests per CPU-second':26}{'app':>8}{'goal':>8}{'floor':>8}{'app/floor':>11}{'queries':>9}")
    for case, goal in GOALS.items():
        app, floor = median(rates[case, "app"]), median(rates[case, "floor"])
        print(f"{case:26}{app:8.0f}{goal:8}{floor:8.0f}{median(ratios[case]):11.2f}{queries[case]:9}")


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
