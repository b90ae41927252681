"""Events that nobody keeps: until a stage wires an outbox."""

from collections.abc import Sequence

from conduit.events import Event
from conduit.ports import Writer


class NullEvents:
    """Records nothing."""

    def record(self, writer: Writer, events: Sequence[Event]) -> None:
        """Drop the events: no one reads them yet."""
