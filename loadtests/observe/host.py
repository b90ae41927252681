"""The machine that the boxes run on, as its kernel tells it: Docker's, which on a desktop is a virtual one."""

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from loadtests.observe.readings import Host


def read(proc: Path) -> Host:
    """Its counters, now."""
    ticks = [int(word) for word in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    return Host(
        at=time.monotonic(),
        ticks=sum(ticks),
        idle=ticks[3] + ticks[4],
        stolen=ticks[7],
        run_delay_ns=_run_delay(proc / "schedstat"),
        pressure_us=_pressure(proc / "pressure" / "cpu"),
    )


def described(proc: Path) -> dict[str, Any]:
    """What tells it from others: its kernel, when that was started, its processor and how many of them."""
    found = re.search(r"^model name\s*:\s*(.+)$", (proc / "cpuinfo").read_text(), re.MULTILINE)
    return {
        "kernel": platform.release(),
        "boot": (proc / "sys" / "kernel" / "random" / "boot_id").read_text().strip(),
        "processor": found.group(1) if found else platform.processor() or None,
        "cores": os.cpu_count(),
    }


def _run_delay(file: Path) -> int | None:
    """The time in ns that tasks waited for a CPU: the eighth figure of each CPU
    (Documentation/scheduler/sched-stats).
    """
    try:
        lines = [line.split() for line in file.read_text().splitlines() if line.startswith("cpu")]
        return sum(int(words[8]) for words in lines) if lines else None
    except (OSError, ValueError, IndexError):
        return None


def _pressure(file: Path) -> int | None:
    """The time in us in which any task waited for a CPU (Documentation/accounting/psi)."""
    try:
        found = re.search(r"^some .*total=(\d+)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None
