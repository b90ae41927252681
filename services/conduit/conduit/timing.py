"""Where a request's time went: one tally a request, kept in a context variable that the thread pool carries along."""

from contextvars import ContextVar


class Tally:
    """Seconds and calls spent at the boundaries behind the API while one request was answered."""

    __slots__ = ("database_seconds", "queries")

    def __init__(self) -> None:
        self.database_seconds = 0.0
        self.queries: dict[str, int] = {}

    def add_query(self, server: str, seconds: float) -> None:
        self.database_seconds += seconds
        self.queries[server] = self.queries.get(server, 0) + 1


# The default takes what is outside any request: start-up, migrations, probes.
tally: ContextVar[Tally | None] = ContextVar("tally", default=None)
