"""Events are not stored: nothing reads them yet."""

from collections.abc import Sequence

from conduit.events import Event
from conduit.ports import Writer


class NullEvents:
    """Records nothing."""

    def record(self, writer: Writer, events: Sequence[Event]) -> None:
        """Drop the events."""
