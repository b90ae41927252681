"""A circuit breaker with a background probe: nobody waits for a component that does not answer.

Closed, calls pass. Open, calls are refused at once, and a thread probes the component every ``pause`` seconds until it
answers. Then the circuit is closed again. The pattern is Nygard's (Release It!, 2007); what he calls half-open is the
probe here, so that no request has to be the one that tries.
"""

import logging
import socket
import time
from collections.abc import Callable
from threading import Event as Signal
from threading import Lock, Thread
from typing import TypeVar

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class CircuitBreaker:
    """Opens after ``failures`` failed calls in a row. It begins open: the first ``wait`` starts the probe.

    ``probe`` returns when the component can be used and raises when it can't. It may take its time: names are resolved
    there, for instance, because a DNS lookup of a missing name can take seconds. It is repeated while calls fail that a
    probe under way does not know of. What takes long and need not be repeated then is for ``prepare``, which is called
    before it: else a busy box may never get ahead of such calls (docs/decisions/0003-the-cache.md).
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], object],
        *,
        prepare: Callable[[], object] = lambda: None,
        failures: int = 1,
        pause: float = 0.2,
    ) -> None:
        self.name = name
        self._prepare = prepare
        self._probe = probe
        self._failures_to_open = failures
        self._pause = pause
        self._lock = Lock()
        self._closed = Signal()
        self._stopped = Signal()
        self._failures = 0
        self._failed_at = 0.0
        self._trips = 0
        self._opened_at: float | None = None  # None until the first probe
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """Whether calls may pass."""
        return self._closed.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether calls may pass, given that a caller waits until ``seconds`` after the circuit opened, no longer."""
        if not self._closed.is_set():
            with self._lock:
                self._start_probing()
                until = (self._opened_at or 0.0) + seconds
            self._closed.wait(max(0.0, until - time.monotonic()))
        return self._closed.is_set()

    def succeeded(self) -> None:
        """A call was answered: failures before it no longer count."""
        self._failures = 0

    def failed(self, cause: object, began: float) -> None:
        """A call failed that ``began`` then, on time.monotonic's clock; that opens the circuit if it was one too many.

        Calls that overlap fail together: one stall of the component makes all of them late, and counts once.
        """
        with self._lock:
            if began >= self._failed_at:
                self._failures += 1
                self._failed_at = time.monotonic()
            opens = self._failures >= self._failures_to_open
        if opens:
            self.trip(cause)

    def trip(self, cause: object) -> None:
        """Open the circuit. A probe that is under way does not count: another follows before it is closed."""
        with self._lock:
            was_closed = self._closed.is_set()
            self._trips += 1
            if was_closed:
                self._closed.clear()
                self._opened_at = time.monotonic()
            self._start_probing()
        if was_closed:
            log.warning("circuit opened", extra={"server": self.name, "cause": repr(cause)})

    def stop(self) -> None:
        """Open it for good, and end the probe."""
        self._stopped.set()
        self._closed.clear()

    def _start_probing(self) -> None:
        if self._opened_at is None:
            self._opened_at = time.monotonic()
        if not self._probing and not self._closed.is_set() and not self._stopped.is_set():
            Thread(target=self._probe_until_closed, name=f"probe {self.name}", daemon=True).start()
            self._probing = True

    def _probe_until_closed(self) -> None:
        last_problem = ""
        while not self._stopped.is_set():
            try:
                self._prepare()
                while not self._stopped.is_set():
                    trips = self._trips
                    self._probe()
                    if self._close_unless_tripped_since(trips):
                        return
            except Exception as error:  # whatever it is, ending the probe would leave the circuit open for good
                if repr(error) != last_problem:
                    last_problem = repr(error)
                    log.info("probe failed", extra={"server": self.name, "cause": last_problem})
                self._stopped.wait(self._pause)

    def _close_unless_tripped_since(self, trips: int) -> bool:
        with self._lock:
            if self._trips != trips or self._stopped.is_set():
                return False
            self._failures = 0
            self._probing = False
            self._closed.set()
            return True


def first_address(host: str, port: int, attempt: Callable[[str], Result]) -> Result:
    """The result of ``attempt`` with the first address of a name for which it does not raise.

    A server may listen on IPv4 alone while its name has an IPv6 address, too. Raises what the last attempt raised, or
    socket.gaierror for a name that is not known.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    *others, last = dict.fromkeys(str(info[4][0]) for info in infos)
    for address in others:
        try:
            return attempt(address)
        except Exception as error:
            log.debug("address does not answer", extra={"server": address, "cause": repr(error)})
    return attempt(last)
