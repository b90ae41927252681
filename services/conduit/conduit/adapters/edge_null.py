"""No edge before the app: nothing keeps its answers, so nothing has to forget them."""

from collections.abc import Sequence


class NullEdge:
    """Purges nothing."""

    def close(self) -> None: ...

    def purge(self, article_ids: Sequence[int]) -> None:
        """Nobody has them."""
