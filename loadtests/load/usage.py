"""What the load generator's own process, and the machine that it is on, use and may use."""

import time
from pathlib import Path
from typing import NamedTuple


def cpu_quota() -> float:
    """CPUs that this one-threaded process may use: its container's quota (cgroup v2 or v1), at most one."""
    for read in (_quota_v2, _quota_v1):
        try:
            quota = read()
        except (OSError, ValueError):
            continue
        return min(1.0, quota) if quota > 0 else 1.0
    return 1.0


def _quota_v2() -> float:
    quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    return 1.0 if quota == "max" else int(quota) / int(period)


def _quota_v1() -> float:
    folder = Path("/sys/fs/cgroup/cpu")
    return int((folder / "cpu.cfs_quota_us").read_text()) / int((folder / "cpu.cfs_period_us").read_text())


def host_times() -> tuple[int, int]:
    """Idle and all ticks of the machine's CPUs so far; a container sees its host's."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return ticks[3] + ticks[4], sum(ticks)


def waited_for_cpu() -> float | None:
    """Seconds so far in which this process wanted to run and another one did; None where the kernel does not tell."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


class Mark(NamedTuple):
    """What this process and the machine had used at a moment: CPU seconds and seconds waited for a CPU, and ticks."""

    cpu: float
    waited: float | None
    idle: int
    ticks: int


def marked() -> Mark:
    """The mark of this moment."""
    return Mark(time.process_time(), waited_for_cpu(), *host_times())
