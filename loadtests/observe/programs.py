"""Which of a box's programs used its CPU."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# /proc's clock ticks: USER_HZ, the same 100 on every Linux that Docker runs on.
TICKS_PER_SECOND = 100.0
OTHERS = "other"
"""What has no name below, as the bash of a health check."""
PROGRAMS = (
    (re.compile(r"postgres"), "PostgreSQL"),
    (re.compile(r"nginx"), "NGINX"),
    (re.compile(r"redis"), "Redis"),
    (re.compile(r"celery"), "worker"),
    (re.compile(r"runsv|runit|supervis|s6-|tini|docker-init"), "supervisor"),
    (re.compile(r"python|uvicorn"), "app"),
)


def stats(pids: Iterable[int], proc: Path) -> Iterator[str]:
    """The lines of /proc/PID/stat of those processes that are still there."""
    for pid in pids:
        with contextlib.suppress(OSError):
            yield (proc / str(pid) / "stat").read_text()


def group_programs(lines: Iterable[str]) -> dict[str, float]:
    """CPU seconds by program out of lines of /proc/PID/stat.

    Utime, stime and those of reaped children (proc(5)).
    """
    seconds: dict[str, float] = {}
    for line in lines:
        head, _, tail = line.rpartition(")")
        fields = tail.split()
        if "(" not in head or len(fields) < 15:
            continue
        command = head.split("(", 1)[1]
        program = next((name for pattern, name in PROGRAMS if pattern.search(command)), OTHERS)
        ticks = sum(int(field) for field in fields[11:15])
        seconds[program] = seconds.get(program, 0.0) + ticks / TICKS_PER_SECOND
    return seconds


def shares(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each box, which share of its CPU went to which program between two times; small ones are left out."""
    found: dict[str, dict[str, float]] = {}
    for box, now in after.items():
        was = before.get(box, {})
        spent = {name: max(0.0, seconds - was.get(name, 0.0)) for name, seconds in now.items()}
        total = sum(spent.values())
        if total > 0 and was:
            found[box] = {name: round(value / total, 4) for name, value in spent.items() if value / total > 0.002}
    return found
