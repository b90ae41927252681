"""Room in the box's memory: how much of it is left, for work that had better be refused than be the box's end.

The kernel ends whoever asks for the last of a container's memory, and at stage 1 that takes the app or PostgreSQL with
it. Nothing tells a process before, so what takes tens of megabytes looks first.
"""

from pathlib import Path

from conduit.errors import UnavailableError

# Left free by whoever takes much: what may begin meanwhile, a password's hash above all.
MARGIN_BYTES = 20 << 20

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


def left(cgroup: Path = _CGROUP) -> int | None:
    """Bytes of the container's limit that are free, or hold nothing but copies of files; None where there is no limit.

    Control groups of version 2 and of version 1: https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory".
    """
    for folder, limit_file, usage_file, prefix in (
        (cgroup, "memory.max", "memory.current", ""),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            limit = (folder / limit_file).read_text().strip()
            if limit == "max" or int(limit) >= _UNLIMITED:
                return None
            usage = int((folder / usage_file).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        copies = int(stat[f"{prefix}active_file"]) + int(stat[f"{prefix}inactive_file"])
        return int(limit) - (usage - copies)
    return None


def require(needed: int, what: str) -> None:
    """Raise UnavailableError where ``needed`` bytes would leave less than MARGIN_BYTES."""
    free = left()
    if free is not None and free < needed + MARGIN_BYTES:
        raise UnavailableError(what)
