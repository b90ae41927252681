"""Readers and writers who never stop, for tests of what they notice when a box goes."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import httpx

from conduit_testing.client import Api


class Traffic:
    """So many threads that ask a site, each over a connection that it keeps, for as long as the block runs.

    Every tenth request writes a comment. ``answers`` counts by method and status; a request without one by its error.
    """

    def __init__(self, url: str, threads: int = 6) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.answers: Counter[tuple[str, str]] = Counter()
        with httpx.Client(base_url=url, timeout=30) as http:
            self._writer = Api(http).sign_up()
            self._slug = self._writer.slug()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]

    def failed(self, *methods: str) -> dict[tuple[str, str], int]:
        """What was answered by the server's fault or not at all, of these methods or of all."""
        with self._lock:
            return {
                (method, status): count
                for (method, status), count in self.answers.items()
                if (not methods or method in methods) and not status.startswith("2")
            }

    def total(self) -> int:
        with self._lock:
            return sum(self.answers.values())

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        self.goes_on(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def goes_on(self, requests: int) -> None:
        """Wait for so many answers more."""
        wanted, deadline = self.total() + requests, time.monotonic() + 60
        while self.total() < wanted:
            assert time.monotonic() < deadline, f"only {self.total()} of {wanted} requests were answered"
            time.sleep(0.05)

    def _ask(self) -> None:
        comments = f"/api/articles/{self._slug}/comments"
        headers = {"Authorization": f"Token {self._writer.token}"}
        body = {"comment": {"body": "Still there."}}
        with httpx.Client(base_url=self._url, timeout=70) as http:
            reads = [f"/api/articles/{self._slug}", "/api/articles", "/", "/api/tags", comments]
            number = 0
            while not self._stopped.is_set():
                number += 1
                if number % 10:
                    self._count("GET", partial(http.get, reads[number % len(reads)]))
                else:
                    self._count("POST", partial(http.post, comments, json=body, headers=headers))
                time.sleep(0.02)

    def _count(self, method: str, ask: Callable[[], httpx.Response]) -> None:
        try:
            status = str(ask().status_code)
        except httpx.TransportError as error:
            status = type(error).__name__
        with self._lock:
            self.answers[method, status] += 1
