"""A server and its replica: writes go to the primary, and what a GET reads to the replica, if it is far enough.

How far a signed-in reader needs it, the session says (``sessions.py``). Whoever is answered by the primary instead sees
what the replica may not have yet, so that becomes the reader's pin, too: nobody goes back in time. Without a pin nobody
knows of a user's write, so a write whose pin can't be kept waits for the replica.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conduit import metrics, sessions
from conduit.adapters.database_server import Transaction
from conduit.adapters.pins_redis import RedisPins
from conduit.adapters.positions import FLUSHED
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.replica import Replica
from conduit.errors import ConflictError, UnavailableError
from conduit.events import Committed
from conduit.sessions import Session
from conduit.statements import Row, Statement
from conduit.timing import tally

log = logging.getLogger(__name__)

# How long a write waits for the replica whose pin can't be kept.
REPLICA_WAIT_SECONDS = 0.5


class ReplicatedServer:
    """``pins`` is None where nobody asks for them, to show what happens then (READ_YOUR_WRITES)."""

    def __init__(self, primary: PostgresServer, replica: Replica, pins: RedisPins | None) -> None:
        self.server = primary.server
        self._primary = primary
        self._replica = replica
        self._pins = pins
        self._answered = {
            by: metrics.REPLICA_READS.labels(self.server, by)
            for by in ("replica", "away", "lagging", "behind", "unknown")
        }

    def open(self) -> None:
        self._primary.open()

    def close(self) -> None:
        self._replica.close()
        self._primary.close()

    def when_known(self, then: Callable[[Committed], None]) -> None:
        self._replica.when_known(then)

    # Reading ------------------------------------------------------------------------------------------------

    def all(self, statement: Statement[Row], **parameters: Any) -> list[Row]:
        session = sessions.current.get()
        if session is None or not session.may_lag:
            return self._primary.all(statement, **parameters)
        why_not = self._why_not(session)
        if why_not is None:
            try:
                rows = self._replica.standby.all(statement, **parameters)
            except (UnavailableError, ConflictError) as error:  # a conflict: the rows were cleaned away meanwhile
                if isinstance(error, UnavailableError):
                    self._replica.failed()
                why_not = "away"
            else:
                self._answered["replica"].inc()
                if (request := tally.get()) is not None:
                    request.replica_lag = max(request.replica_lag, self._replica.lag_seconds)
                return rows
        self._answered[why_not].inc()
        rows = self._primary.all(statement, **parameters)
        self._pin_what_was_seen(session)
        return rows

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def _why_not(self, session: Session) -> str | None:
        """Why the replica may not answer; None if it may."""
        needed = session.needed(self.server, self._pins_of)
        return "unknown" if needed is None else self._replica.why_not(needed)

    def _pins_of(self, user_id: int) -> Mapping[str, str] | None:
        if self._pins is None:
            return {}
        try:
            return self._pins.of(user_id)
        except UnavailableError:
            return None

    def _pin_what_was_seen(self, session: Session) -> None:
        if session.viewer is None or self._pins is None:
            return
        try:
            row = self._primary.first(FLUSHED)
        except UnavailableError:
            return  # nor would the next read have an answer
        assert row is not None, "the statement always gives a row"
        self._pin(session.viewer, row.position)

    # Writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._primary.transaction() as writer:
            yield writer
        session = sessions.current.get()
        if session is not None and session.viewer is not None and writer.committed is not None:
            self._pin(session.viewer, writer.committed.position)

    def _pin(self, user_id: int, position: str) -> None:
        if self._pins is None:
            return
        try:
            self._pins.raise_to(user_id, self.server, position)
        except UnavailableError:
            if not self._replica.wait_for(position, REPLICA_WAIT_SECONDS):
                metrics.PINS_LOST.inc()
                log.warning("a pin is lost", extra={"server": self.server})
