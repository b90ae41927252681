"""The record of a run: one folder, its raw data written after every trial, so that an interruption loses none."""

import datetime as dt
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loadtests import raw
from loadtests.observe.readings import Moment

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = ROOT / "runs"
COPIED = ".commit.json"
FORMAT = 1


def now() -> str:
    """The time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Run:
    """A run's folder and what goes into its run.json (``data``)."""

    def __init__(self, stage: int, mix: str, runs: Path = RUNS) -> None:
        stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.folder = runs / f"{stamp}-stage{stage}-{mix}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {
            "format": FORMAT,
            "complete": False,
            "why_incomplete": "the run was ended from outside",
            "started": now(),
            "ended": None,
            "stage": stage,
            "machine": {},
            "commit": commit(),
            "trials": [],
        }

    def add(
        self,
        trial: dict[str, Any],
        moments: Iterable[Moment] = (),
        marks: Mapping[str, Moment] | None = None,
        told: Iterable[raw.Row] = (),
    ) -> None:
        """A trial, with a generator's result in it: its rows by second go to files of their own, as do what was
        observed each second, the readings (``marks``) between which the trial's figures are, and rows of what apps and
        caches ``told`` before it and after it.
        """
        result, number = trial["result"], len(self.data["trials"])
        start = result.get("started", 0.0)
        requests, counters = result.pop("seconds_by_route", []), result.pop("beats", [])
        for moment in moments:
            counters += moment.rows(start)
        for mark, moment in (marks or {}).items():
            counters += moment.rows(start, mark=mark)
        counters += told
        raw.append(self.folder, number, requests, counters)
        self.data["trials"].append(trial)
        self.save()

    def save(self) -> None:
        """Write run.json, whole or not at all."""
        path = self.folder / "run.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(self.data, indent=1) + "\n")
        draft.replace(path)


def commit() -> dict[str, Any]:
    """The commit that was measured, and whether files had been changed since.

    A copy of the files without their repository may say so in ``.commit.json``.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if (ROOT / COPIED).is_file():
            copied: dict[str, Any] = json.loads((ROOT / COPIED).read_text())
            return copied
        return {"id": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {"id": None, "changed": None}


def machine(info: dict[str, Any], docker_version: str, observed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the boxes ran on, as the Docker Engine and what observes see it (on a desktop that is its virtual machine).

    ``boot`` tells one start of the machine from the next; only what observes knows it.
    """
    observed = observed or {}
    return {
        "cores": info.get("NCPU") or os.cpu_count(),
        "memory": info.get("MemTotal"),
        "processor": observed.get("processor") or _processor(),
        "kernel": info.get("KernelVersion"),
        "boot": observed.get("boot"),
        "system": info.get("OperatingSystem") or platform.system(),
        "architecture": info.get("Architecture") or platform.machine(),
        "docker": docker_version,
        "cgroup": info.get("CgroupVersion"),
    }


def _processor() -> str | None:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return platform.processor() or None
    return found.group(1) if found else None
