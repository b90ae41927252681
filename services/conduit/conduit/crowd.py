"""Whether the box has more to do than it can, by the clock alone.

By Little's law a request waits for as long as it takes to answer those that are under way: their number divided by the
answers a second. So what bounds the wait is a time, and it is right for a box of any speed. The event loop's turns tell
whether the box is busy at all: where its database does not answer, many are under way, but the loop has time, and what
needs no database is still answered at once.
"""

# It is an overload when requests have to wait for so long, for so long. At the ceiling there are bursts all the time,
# which are over by then.
STANDS_SECONDS = 0.3
OVERLOAD_SECONDS = 2.0
# If a turn of the event loop takes this long as well, it is one at once: whoever is let in waits for such turns.
TURN_SECONDS = 0.25
# A loop that has more to do than it can is later than this on average, and one that has next to nothing to do is not as
# late as that.
BUSY_SECONDS = 0.01
IDLE_SECONDS = 0.002
# In an overload, as many are under way as are answered in so long. To connect and to be read takes about as long again.
WAIT_SECONDS = 0.15
# Who is connected may come again until there are so many times as many.
CONNECTED = 1.5
# But these may always be, or a box that has answered nobody for a while would let in nobody.
LEAST = 4
# It is over when nobody was turned away for so long.
OVER_SECONDS = 1.0
MEAN_SECONDS = 1.0


class Crowd:
    """Who is under way, as the protocol tells, and whether one more may come in.

    ``look`` is to be called some twenty times a second, at irregular intervals: the loop's turns may be regular.
    """

    def __init__(self) -> None:
        self.is_overloaded = False
        self.under_way = 0
        self._answered = 0
        self._rate = 0.0
        self._late = 0.0
        self._waiting = 0
        self._most = 0.0
        self._places = 0.0
        self._looked_at: float | None = None
        self._stands_since: float | None = None
        self._turned_away_at = 0.0

    @property
    def is_full(self) -> bool:
        """Whether one more would wait for too long."""
        return self.is_overloaded and self._places < 1

    @property
    def is_too_large(self) -> bool:
        """Whether some of those who are connected would have to wait for too long, too."""
        return self.is_overloaded and self.under_way - self._waiting > CONNECTED * self._most

    def begins(self) -> None:
        """A connection has something to be answered."""
        self.under_way += 1

    def leaves(self) -> None:
        """It has no more, or its client has gone or does not read."""
        self.under_way -= 1

    def answers(self) -> None:
        self._answered += 1

    def enters(self) -> None:
        """Somebody who will ask for something before the next look."""
        self._places -= 1

    def is_turned_away(self, now: float) -> None:
        self._turned_away_at = now

    def look(self, now: float, late: float, waiting: int = 0) -> None:
        """``now`` and how ``late`` that is are seconds of one clock. ``waiting`` are those under way that need nothing
        of the box for now.
        """
        passed = now - self._looked_at if self._looked_at is not None else 0.0
        self._looked_at = now
        if passed <= 0:
            return
        share = min(1.0, passed / MEAN_SECONDS)
        self._late += (late - self._late) * share
        self._rate += (self._answered / passed - self._rate) * share
        self._answered = 0
        self._waiting = waiting
        crowd = self.under_way - waiting
        self._most = max(LEAST, WAIT_SECONDS * self._rate)
        self._places = self._most - crowd
        if self.is_overloaded:
            self.is_overloaded = now - self._turned_away_at < OVER_SECONDS and self._late >= IDLE_SECONDS
        elif self._has_stood(crowd, now) or (late > TURN_SECONDS and self._stands_since is not None):
            self.is_overloaded = True
            self._turned_away_at = now
            self._stands_since = None

    def _has_stood(self, crowd: int, now: float) -> bool:
        """Whether requests have waited for long, and for long enough."""
        if self._late < BUSY_SECONDS or crowd <= LEAST or crowd < STANDS_SECONDS * self._rate:
            self._stands_since = None
        elif self._stands_since is None:
            self._stands_since = now
        return self._stands_since is not None and now - self._stands_since > OVERLOAD_SECONDS
