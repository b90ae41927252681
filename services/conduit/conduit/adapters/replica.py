"""A server's replica: how far it is, by a heartbeat, and whether it may answer.

What a process has heard of the replica is a lower bound: it only goes on from there. So it is asked where it is twice a
second only, and when a reader needs more than was heard. That does not hold for another node, or for one that was
started anew: a standby begins to answer before it is where it was. Such a one answers nobody until it has what its
primary had by then, and until every process has noticed that the former one is no longer a standby.

How old an answer may be is told without the databases' clocks: the replica has all that its primary had when the
primary was at this position.
"""

import logging
from collections import deque
from collections.abc import Callable
from math import isfinite
from threading import Event as Signal
from threading import Lock, Thread
from time import monotonic, sleep
from typing import NamedTuple

from conduit import metrics
from conduit.adapters.positions import FLUSHED, REPLAYED, ReplayedRow, has_reached, timeline_of
from conduit.adapters.postgres_server import ANSWER_SECONDS, Ask, PostgresServer
from conduit.errors import ConflictError, UnavailableError
from conduit.events import Committed

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 0.5
# What was heard longer ago says nothing: the replica may have become the primary, and another node the replica.
STALE_SECONDS = 1.5
SETTLES_SECONDS = STALE_SECONDS + ANSWER_SECONDS
# Who needs more than was heard asks, but not again at once.
ASK_PAUSE_SECONDS = 0.02


class _Heard(NamedTuple):
    """Where the replica was when it was asked ``at`` that time."""

    at: float
    position: str


class Replica:
    """The replica of ``primary``; ``standby`` is a pool of connections to it. ``max_lag`` is in seconds."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer, max_lag: float) -> None:
        self.standby = standby
        standby.call_when_met(self._note_met)
        # Another number for another node, or another start of it.
        self.node = 0
        self._primary = primary
        self._max_lag = max_lag
        self._heard: _Heard | None = None
        # The standby since its last start, when it was first heard of, what it must have, and whether it had that.
        self._started: str | None = None
        self._since = 0.0
        self._must_have: str | None = None
        self._has_settled = False
        self._timeline: str | None = None
        # When the primary was where, and the last of these times of which the replica has everything.
        self._primary_was: deque[tuple[float, str]] = deque(maxlen=600)
        self._has_all_of = -float("inf")
        self._unsettled: list[Callable[[Committed], None]] = []
        self._lock = Lock()
        self._stopped = Signal()
        self._thread: Thread | None = None
        self._lag = metrics.REPLICA_LAG.labels(primary.server)

    def open(self) -> None:
        """Begin to ask; idempotent. A process that reads nothing from replicas need not."""
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self.standby.open()
                self._thread = Thread(target=self._beat, name=f"heartbeat {self._primary.server}", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(2 * ANSWER_SECONDS)
            self.standby.close()

    @property
    def lag_seconds(self) -> float:
        """How old its answers are at most."""
        return monotonic() - self._has_all_of

    def why_not(self, needed: str) -> str | None:
        """Why it may not answer who needs this position: "away", "lagging" or "behind"; None if it may."""
        if self._thread is None:
            self.open()
        heard, now = self._heard, monotonic()
        if heard is None or now - heard.at > STALE_SECONDS or not self._has_settled:
            return "away"
        if now - self._has_all_of > self._max_lag:
            return "lagging"
        if not has_reached(heard.position, needed) and now - heard.at > ASK_PAUSE_SECONDS:
            heard = self._ask()
        return None if heard is not None and has_reached(heard.position, needed) else "behind"

    def failed(self) -> None:
        """It did not answer: it is not asked again before the next heartbeat."""
        self._heard = None

    def wait_for(self, position: str, seconds: float) -> bool:
        """Whether it has reached the position, after waiting for that."""
        until = monotonic() + seconds
        while (why_not := self.why_not(position)) is not None and monotonic() < until:
            sleep(ASK_PAUSE_SECONDS)
        return why_not is None

    def when_known(self, then: Callable[[Committed], None]) -> None:
        """Call ``then`` with the primary's position when that is heard of next."""
        with self._lock:
            self._unsettled.append(then)
        self.open()

    # The heartbeat ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while True:
            try:
                self._ask_primary()
                self._ask()
                if isfinite(self.lag_seconds):
                    self._lag.set(self.lag_seconds)
            except Exception:  # without it nobody would ask the replica any more
                log.exception("a heartbeat failed", extra={"server": self._primary.server})
            if self._stopped.wait(HEARTBEAT_SECONDS):
                return

    def _ask_primary(self) -> None:
        was_heard, began, unsettled = self._heard is not None, monotonic(), len(self._unsettled)
        try:
            row = self._primary.first(FLUSHED)
        except UnavailableError:
            return
        assert row is not None, "the statement always gives a row"
        with self._lock:
            due, self._unsettled = self._unsettled[:unsettled], self._unsettled[unsettled:]
            self._primary_was.append((began, row.position))
            if was_heard and (self._must_have is None or timeline_of(self._must_have) != timeline_of(row.position)):
                self._must_have = row.position
        for then in due:
            try:
                then(Committed(self._primary.server, row.position))
            except Exception:  # the others are to hear of it as well
                log.exception("not told of a position", extra={"server": self._primary.server})

    def _ask(self) -> _Heard | None:
        """Where it is; None if it does not say so."""
        began = monotonic()
        try:
            row = self.standby.first(REPLAYED)
        except (UnavailableError, ConflictError):
            row = None
        if row is not None and not row.is_standby:
            self.standby.forget_connections()
        return self._note(began, row)

    def _note_met(self, ask: Ask) -> None:
        """What a new connection leads to, noted before anybody reads from it."""
        began = monotonic()
        (row,) = ask(REPLAYED)
        self._note(began, row)

    def _note(self, began: float, row: ReplayedRow | None) -> _Heard | None:
        with self._lock:
            self._heard = self._noted(began, row) if row is not None and row.is_standby else None
            return self._heard

    def _noted(self, began: float, row: ReplayedRow) -> _Heard | None:
        if row.started != self._started:
            self._started, self._since, self.node = row.started, began, self.node + 1
            self._must_have, self._has_settled, self._timeline = None, False, None
        # While its primary is away, it goes on with none.
        self._timeline = row.timeline or self._timeline
        if self._timeline is None or row.replayed is None:
            return None
        position = self._timeline + row.replayed
        while self._primary_was:
            then, was_at = self._primary_was[0]
            if has_reached(position, was_at):
                self._has_all_of = then
            elif timeline_of(was_at) >= timeline_of(position):
                break  # what is of an earlier one says nothing any more
            self._primary_was.popleft()
        if self._must_have is not None and not self._has_settled:
            self._has_settled = began - self._since > SETTLES_SECONDS and has_reached(position, self._must_have)
        return _Heard(began, position)
