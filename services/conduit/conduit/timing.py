"""Where a request's time went: one tally a request, kept in a context variable that the thread pool carries along."""

from contextvars import ContextVar


class Tally:
    """Seconds and calls spent at the boundaries behind the API while one request was answered."""

    __slots__ = ("database_seconds", "queries", "redis_seconds", "task_seconds")

    def __init__(self) -> None:
        self.database_seconds = 0.0
        self.queries: dict[str, int] = {}
        self.redis_seconds = 0.0  # cache and limits; also what a request may still wait for them is counted by this
        # What was done inside the request, its own queries included: image, mail, report.
        self.task_seconds: dict[str, float] = {}

    def add_query(self, server: str, seconds: float) -> None:
        self.database_seconds += seconds
        self.queries[server] = self.queries.get(server, 0) + 1

    def add_task(self, kind: str, seconds: float) -> None:
        self.task_seconds[kind] = self.task_seconds.get(kind, 0.0) + seconds


# The default takes what is outside any request: start-up, migrations, probes.
tally: ContextVar[Tally | None] = ContextVar("tally", default=None)
