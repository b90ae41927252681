"""A server and its replica: writes go to the primary, and what a GET reads to the replica, if it is far enough.

How far a signed-in reader needs it, the session says (``sessions.py``). Whoever is answered by the primary instead sees
what the replica may not have yet, so that becomes the reader's pin, too: nobody goes back in time. Without a pin nobody
knows of a user's write, so a write whose pin can't be kept in time waits for the replica.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from conduit import metrics, sessions
from conduit.adapters.database_server import Transaction
from conduit.adapters.pins_redis import RedisPins
from conduit.adapters.positions import FLUSHED
from conduit.adapters.postgres_server import PostgresServer
from conduit.adapters.replica import Replica
from conduit.errors import ConflictError, SlowError, UnavailableError
from conduit.events import Committed
from conduit.sessions import Session
from conduit.statements import Row, Statement
from conduit.timing import tally

log = logging.getLogger(__name__)

# How many more reads may be under way at the replica than at the primary, before the primary answers who is not signed
# in: two servers answer nearly twice as much as one. Whoever is signed in would need another pin for that.
MORE_AT_REPLICA = 1
# How long a write waits for the replica whose pin can't be kept.
REPLICA_WAIT_SECONDS = 0.5


class _UnderWay:
    """How many reads are under way; a context manager around each."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


class ReplicatedServer:
    """``pins`` is None where nobody asks for them, to show what happens then (READ_YOUR_WRITES)."""

    def __init__(self, primary: PostgresServer, replica: Replica, pins: RedisPins | None) -> None:
        self.server = primary.server
        self._primary = primary
        self._replica = replica
        self._pins = pins
        self._at_primary, self._at_replica = _UnderWay(), _UnderWay()
        self._answered = {
            by: metrics.REPLICA_READS.labels(self.server, by)
            for by in ("replica", "busy", "away", "lagging", "behind", "unknown")
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
        node, why_not = self._replica.node, self._why_not(session)
        if why_not is None:
            rows = self._read_replica(statement, parameters)
            # Otherwise it was started anew meanwhile, and may not be where the former one was.
            if rows is not None and self._replica.node == node:
                self._answered["replica"].inc()
                if (request := tally.get()) is not None:
                    request.replica_lag = max(request.replica_lag, self._replica.lag_seconds)
                return rows
        self._answered[why_not or "away"].inc()
        with self._at_primary:
            rows = self._primary.all(statement, **parameters)
        if session.viewer is not None and self._pins is not None:
            self._pin_what_was_seen(session, session.viewer, self._pins)
        return rows

    def _read_replica(self, statement: Statement[Row], parameters: dict[str, Any]) -> list[Row] | None:
        """None where it does not answer. Raises SlowError: the primary would take as long."""
        try:
            with self._at_replica:
                return self._replica.standby.all(statement, **parameters)
        except SlowError:
            raise
        except ConflictError:  # it had to remove rows that this read could see
            return None
        except UnavailableError:
            self._replica.failed()
            return None

    def first(self, statement: Statement[Row], **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def _why_not(self, session: Session) -> str | None:
        """Why the replica may not answer; None if it may."""
        if session.viewer is None and self._at_replica.count > self._at_primary.count + MORE_AT_REPLICA:
            return "busy"
        needed = session.needed(self.server, self._pins_of)
        return "unknown" if needed is None else self._replica.why_not(needed)

    def _pins_of(self, user_id: int) -> Mapping[str, str] | None:
        if self._pins is None:
            return {}
        try:
            return self._pins.of(user_id)
        except UnavailableError:
            return None

    def _pin_what_was_seen(self, session: Session, viewer: int, pins: RedisPins) -> None:
        """Raises UnavailableError where nobody can say up to where that is: then nothing is shown."""
        row = self._primary.first(FLUSHED)
        assert row is not None, "the statement always gives a row"
        session.after({self.server: row.position})
        # It is owed otherwise: this process delivers it before it reads from a replica for anybody.
        with suppress(UnavailableError):
            pins.raise_to(viewer, self.server, row.position)

    # Writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._primary.transaction() as writer:
            yield writer

    def remember(self, committed: Committed) -> None:
        session = sessions.current.get()
        if self._pins is None or session is None or session.viewer is None:
            return
        try:
            self._pins.raise_to(session.viewer, self.server, committed.position)
        except UnavailableError:
            # It is owed, and other processes do not know.
            if not self._replica.wait_for(committed.position, REPLICA_WAIT_SECONDS):
                metrics.PINS_LOST.inc()
                log.warning("a pin is late, and so is the replica", extra={"server": self.server})
