"""The memory headroom of the box: freed memory goes back to the system, and work that needs more than that is refused.

When a container reaches its memory limit, the kernel kills a process in it without a warning: at stage 1 the app or
PostgreSQL.
"""

import ctypes
from contextlib import suppress
from pathlib import Path

from conduit.errors import UnavailableError

# Stays free for what may start meanwhile: one password is hashed at a time, which takes 19 MiB.
MARGIN_BYTES = 20 << 20

# That was seen since the start; None where nothing is limited.
_most_left: int | None = None

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60

# Of glibc's malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 64 << 10


def limit_malloc() -> None:
    """Make glibc return what is freed to the system. Called once in each process, before it starts threads.

    - One arena: by default each thread keeps what it freed, and pixels are allocated in one thread, freed in another.
    - Blocks of 64 KB and more are mapped, so each goes back when it is freed. By default glibc raises that threshold
      with the first large block: ten threads that had each hashed a password kept 19 MiB each. With 256 KB, a cover
      left 10 MB of libvips' buffers behind.
    - What the imports freed goes back now, some 3 MB.

    Figures: ``docs/decisions/0006-images.md``. Other C libraries do this by themselves.
    """
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.malloc_trim(0)


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


def note_start() -> None:
    """Keep what is left now, before the process works, for ``fits_at_rest``."""
    global _most_left  # noqa: PLW0603 - a fact of the process
    _most_left = left()


def fits_at_rest(needed: int) -> bool:
    """Whether ``needed`` bytes and MARGIN_BYTES were ever seen to be left. Where not, waiting is of no use."""
    if _most_left is not None and _most_left < needed + MARGIN_BYTES:
        _left_now()
    return _most_left is None or needed + MARGIN_BYTES <= _most_left


def require(needed: int, what: str) -> None:
    """Raise UnavailableError where ``needed`` bytes would leave less than MARGIN_BYTES."""
    free = _left_now()
    if free is not None and free < needed + MARGIN_BYTES:
        raise UnavailableError(what)


def _left_now() -> int | None:
    """What is left. The most of it is kept: a box that restarts under load has little left at its start."""
    global _most_left  # noqa: PLW0603 - a fact of the process
    free = left()
    if free is not None and _most_left is not None:
        _most_left = max(_most_left, free)
    return free
