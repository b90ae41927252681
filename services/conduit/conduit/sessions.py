"""Who asks, and how old the answer may be: one session for each request, in a context variable that its threads share.

Only what a GET reads may come from a replica. Whoever is signed in must not see less than before, so for each server
the session knows a position in its log that an answer must have reached (``adapters/positions.py``). It is that of the
user's own last write, or of the last change that the cache was told of, whichever is later.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from threading import Lock


class Session:
    """Of one request. ``viewer`` is the signed-in user's id, once it is known."""

    __slots__ = ("_is_sure", "_lock", "_needed", "_pins_asked", "may_lag", "viewer")

    def __init__(self, *, may_lag: bool) -> None:
        self.may_lag = may_lag
        self.viewer: int | None = None
        self._needed: dict[str, str] = {}
        self._is_sure = True
        self._pins_asked = False
        self._lock = Lock()  # a question to several servers is asked in a thread for each

    def after(self, positions: Mapping[str, str] | None) -> None:
        """From now on an answer must have reached these positions, too; None: nobody knows which."""
        if positions is None:
            self._is_sure = False
            return
        for server, position in positions.items():
            self._needed[server] = max(position, self._needed.get(server, ""))

    def needed(self, server: str, pins: Callable[[int], Mapping[str, str] | None]) -> str | None:
        """The position that an answer of the server must have reached, "" for any; None where nobody knows.

        ``pins`` returns the positions of a user's own writes. It is called once for each session.
        """
        if self.viewer is not None:
            with self._lock:
                if not self._pins_asked:
                    self._pins_asked = True
                    self.after(pins(self.viewer))
        return self._needed.get(server, "") if self._is_sure else None


# None outside of a request, and where there are no replicas: then nothing may lag.
current: ContextVar[Session | None] = ContextVar("session", default=None)


def signed_in(user_id: int) -> None:
    """The current request is this user's, and so is what it writes."""
    if (session := current.get()) is not None:
        session.viewer = user_id


def after(positions: Mapping[str, str] | None) -> None:
    """``Session.after`` of the current request."""
    if (session := current.get()) is not None:
        session.after(positions)


def reader_may_lag() -> bool:
    """Whether the current request is a signed-in user's, and may read from replicas."""
    session = current.get()
    return session is not None and session.may_lag and session.viewer is not None
