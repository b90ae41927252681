"""``python -m loadtests.bench.checks stage4``: the CPU that a stage's health checks take of its boxes.

The stage is started without checks. Then what Docker would start in each box is started from here, in rounds of a
minute by turns: nothing, the checks of an earlier commit (``BEFORE=``), the checks of now. Nobody uses the stage. What
a round takes more than one without checks is what they cost, in the box and in those that it asks.

The CPU is that of the boxes' control groups. The figures of each round go to ``runs/<time>-checks/run.json``.
"""

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import yaml

from infra.stage import nginx, topology
from infra.stage.problems import Problem
from infra.stage.shell import run
from infra.stage.stages import ROOT, compose_file, files
from loadtests.bench.columns import aligned
from loadtests.bench.spent import cpu_ms
from loadtests.ceiling.boxes import Box, Boxes
from loadtests.ceiling.record import commit

# Before there was one program that stays: a curl, or its like, every five seconds.
BEFORE = "e5ad3c7"
FORMS = ("none", "before", "now")
ROUNDS = 5
# The checks of now begin once in it, as they do in three of these only: their figures are upper bounds.
SECONDS = 61.0
SETTLES_SECONDS = 10.0
STARTS_WITHIN = 180.0
# The check of the box of stage 1 was a script of its image.
_SCRIPT = "infra/images/box/healthy"
_TOLD = "echo told before >/tmp/healthy"
_ENDS = "echo nobody >/tmp/healthy"

Check = tuple[float, list[str]]
"""Seconds between two, and the command."""


def main(words: list[str]) -> int:
    """Measure, print and keep. Returns the exit code; raises Problem."""
    if len(words) != 1:
        raise Problem("Whose checks are to be measured?", "Say: make stage4 bench-checks", status=2)
    number = int(words[0].removeprefix("stage"))
    stage = topology.read(number)
    before = os.environ.get("BEFORE", BEFORE)
    checks: dict[str, dict[str, Check]] = {
        "none": {},
        "before": _checks(_at(before, compose_file(number).name), _at(before, _SCRIPT)),
        "now": _checks(compose_file(number).read_text()),
    }
    folder = Path("runs") / f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-checks"
    folder.mkdir(parents=True)
    _start(stage, folder / "without-checks.yml")
    boxes = Boxes(stage.project)
    rounds: list[dict[str, Any]] = []
    for place in range(ROUNDS):
        # By turns the other way round, so that what grows or dies down in the stage is in no form's favour.
        for form in FORMS if place % 2 == 0 else FORMS[::-1]:
            rounds.append({"round": place, "form": form, "cpu_ms_a_second": _round(boxes, checks[form])})
            print(f"round {place + 1}  {form:7} {_line(rounds[-1]['cpu_ms_a_second'])}", flush=True)
    raw = {"stage": number, "commit": commit(), "before": before, "quota": boxes.capacity(), "rounds": rounds}
    (folder / "run.json").write_text(json.dumps(raw, indent=1) + "\n")
    print(aligned(HEAD, figures(rounds, boxes.capacity())))
    print(f"\nRaw data: {folder / 'run.json'}")
    return 0


HEAD = ("box", "CPU ms/s at rest", "before, ms/s", "of the box", "now, ms/s", "of the box")


def figures(rounds: list[dict[str, Any]], quota: dict[str, float]) -> list[list[str]]:
    """Medians over the rounds: CPU ms a second of each box without checks, and what each form takes of its quota."""
    rows = []
    for box, cpus in quota.items():
        spent = {
            form: median(one["cpu_ms_a_second"][box] for one in rounds if one["form"] == form) for form in FORMS
        }
        row = [box, f"{spent['none']:.2f}"]
        for form in FORMS[1:]:
            more = spent[form] - spent["none"]
            row += [f"{more:.2f}", f"{more / cpus / 10:.2f} %"]
        rows.append(row)
    return rows


def _line(spent: dict[str, float]) -> str:
    return "  ".join(f"{box} {ms:.2f}" for box, ms in spent.items())


def _at(commit: str, path: str) -> str:
    said = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode:
        raise Problem(f"There is no {path} at {commit}.", "Name a commit that has it: BEFORE=")
    return said.stdout


def _checks(file: str, script: str = "") -> dict[str, Check]:
    """By service, of the text of a stage's file; ``script`` is what the check ``healthy`` alone runs."""
    found = {}
    for name, service in yaml.safe_load(file)["services"].items():
        how = service["healthcheck"]
        kind, *command = how["test"]
        if command == ["healthy"]:
            kind, command = "CMD-SHELL", [script]
        shell = ["sh", "-c"] if kind == "CMD-SHELL" else []
        found[name] = (float(how["interval"].removesuffix("s")), [*shell, *command])
    return found


def _start(stage: topology.Topology, override: Path) -> None:
    """Start it without checks; who waits for another to be healthy waits for its start."""
    services = yaml.safe_load(compose_file(stage.number).read_text())["services"]
    without = {
        name: {
            "healthcheck": {"disable": True},
            "depends_on": {other: {"condition": "service_started"} for other in service.get("depends_on", {})},
        }
        for name, service in services.items()
    }
    override.write_text(yaml.safe_dump({"services": without}))
    nginx.configure(stage.number)
    read = [word for file in (*files(stage.number), str(override)) for word in ("-f", file)]
    if run(["docker", "compose", *read, "up", "--build", "--detach"]) != 0:
        raise Problem("The stage did not start; Docker's output is above.", "Check with: make doctor")
    deadline = time.monotonic() + STARTS_WITHIN
    while not _is_ready(stage):
        if time.monotonic() > deadline:
            raise Problem(f"The stage did not answer within {STARTS_WITHIN:.0f} s.")
        time.sleep(1)
    time.sleep(3 * SETTLES_SECONDS)  # what is done once after a start


def _is_ready(stage: topology.Topology) -> bool:
    try:
        return httpx.get(f"{stage.url}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _round(boxes: Boxes, checks: dict[str, Check]) -> dict[str, float]:
    """CPU ms a second of each box, at rest but for its checks."""
    for box in boxes.boxes:
        box.container.exec_run(["sh", "-c", _TOLD])
    time.sleep(SETTLES_SECONDS)
    ended = threading.Event()
    checking = [
        threading.Thread(target=_check, args=(box, *checks[box.service], ended))
        for box in boxes.boxes
        if box.service in checks
    ]
    began, before = time.monotonic(), cpu_ms(boxes.boxes)
    for thread in checking:
        thread.start()
    time.sleep(SECONDS)
    seconds, after = time.monotonic() - began, cpu_ms(boxes.boxes)
    ended.set()
    for box in boxes.boxes:  # one that stays ends when it reads another's name
        box.container.exec_run(["sh", "-c", _ENDS])
    for thread in checking:
        thread.join()
    return {box: round((after[box] - spent) / seconds, 3) for box, spent in before.items()}


def _check(box: Box, interval: float, command: list[str], ended: threading.Event) -> None:
    while not ended.wait(interval):
        # Not by the Engine's client, which gives up on one that stays a minute.
        inside = ["docker", "exec", box.container.name, *command]
        done = subprocess.run(inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode and not ended.is_set():
            print(f"{box.name} is not well: {done.stdout.strip()}", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.status)
