"""Threads that do one thing after another, as fast as it is done, until they are told to stop."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from conduit.errors import AppError


class Threads:
    """``work`` does one thing, drawn from a thread's own sequence, and returns its kind. An AppError is a failure."""

    def __init__(self, work: Callable[[random.Random], str], count: int) -> None:
        self._work = work
        self._over = threading.Event()
        self._done: list[tuple[float, float, str]] = []  # when it was done, seconds, kind or "failed"
        self._threads = [threading.Thread(target=self._go_on, args=(number,)) for number in range(count)]

    def _go_on(self, number: int) -> None:
        draw = random.Random(number)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                kind = self._work(draw)
            except AppError:
                kind = "failed"
            ended = time.monotonic()
            self._done.append((ended, ended - began, kind))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def between(self, began: float, ended: float) -> dict[str, Any]:
        """What was done between two moments of time.monotonic: how much of each kind, and in how many milliseconds."""
        done = [one for one in self._done if began < one[0] <= ended]
        times = sorted(1_000 * seconds for _, seconds, kind in done if kind != "failed")
        return {
            "seconds": round(ended - began, 3),
            "kinds": Counter(kind for _, _, kind in done),
            "median_ms": round(times[len(times) // 2], 2) if times else None,
            "p95_ms": round(times[len(times) * 95 // 100], 2) if times else None,
        }
