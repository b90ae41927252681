"""A canary: a constant piece of work, timed once a second, that tells the machine's own speed from what a stage costs.

The work is a chain of hashes in short slices, each timed by the CPU time of the thread, so that no wait for a CPU
counts. Kept are the fastest twentieth, which is undisturbed on most machines, and the median, which is not
(loadtests/ceiling/speed.py).
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

# 40 slices of 200 hashes are 2.5 to 5 ms in all; a slice is too short for much else to happen in it.
SLICES = 40
HASHES = 200
FASTEST = 0.05


def beat() -> list[float]:
    """Do the work once: CPU ns a hash, of each slice."""
    digest = bytes(32)
    found = []
    for _ in range(SLICES):
        began = time.thread_time_ns()
        for _ in range(HASHES):
            digest = hashlib.sha256(digest).digest()
        found.append((time.thread_time_ns() - began) / HASHES)
    return found


def speed(beats: Iterable[Sequence[float]]) -> dict[str, Any] | None:
    """Of several beats: ``ns`` a hash in the fastest twentieth of the slices, their median, the slowest tenth's
    beginning, and how many beats there were. None of none.
    """
    found = list(beats)
    slices = sorted(ns for one in found for ns in one)
    if not slices:
        return None
    at = {"ns": FASTEST, "median": 0.5, "slow": 0.9}
    return {name: round(slices[int(share * len(slices))], 1) for name, share in at.items()} | {"beats": len(found)}
