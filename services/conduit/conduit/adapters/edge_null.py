"""No edge cache in front of the app."""

from collections.abc import Sequence


class NullEdge:
    """Purges nothing."""

    def close(self) -> None: ...

    def purge(self, article_ids: Sequence[int]) -> None:
        """Do nothing."""
