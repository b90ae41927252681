"""The box's memory headroom: work that needs tens of megabytes is refused if they are not free.

When a container reaches its memory limit, the kernel kills a process in it without warning: at stage 1 the app or
PostgreSQL.
"""

from pathlib import Path

from conduit.errors import UnavailableError

# Stays free for work that may start meanwhile, above all a password hash.
MARGIN_BYTES = 20 << 20

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


def left(cgroup: Path = _CGROUP) -> int | None:
    """Bytes of the container's limit that are free or in the page cache; None without a limit.

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
        page_cache = int(stat[f"{prefix}active_file"]) + int(stat[f"{prefix}inactive_file"])
        return int(limit) - (usage - page_cache)
    return None


def require(needed: int, what: str) -> None:
    """Raise UnavailableError, which names ``what``, if ``needed`` bytes would leave less than MARGIN_BYTES."""
    free = left()
    if free is not None and free < needed + MARGIN_BYTES:
        raise UnavailableError(what)
