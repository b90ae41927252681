"""Where a request's time went: one tally a request, kept in a context variable that the thread pool carries along."""

from contextvars import ContextVar
from time import perf_counter


class Tally:
    """Seconds and calls spent at the boundaries behind the API while one request was answered."""

    __slots__ = ("database_seconds", "queries", "redis_seconds", "started", "task_seconds")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.database_seconds = 0.0
        self.queries: dict[str, int] = {}
        # Cache and limits. A request's budget of time for Redis is counted by this, too.
        self.redis_seconds = 0.0
        # Tasks done inside the request, their own queries included: image, mail, report.
        self.task_seconds: dict[str, float] = {}

    def add_query(self, server: str, seconds: float) -> None:
        self.database_seconds += seconds
        self.queries[server] = self.queries.get(server, 0) + 1

    def add_task(self, kind: str, seconds: float) -> None:
        self.task_seconds[kind] = self.task_seconds.get(kind, 0.0) + seconds


# None outside of any request: start-up, migrations, probes.
tally: ContextVar[Tally | None] = ContextVar("tally", default=None)
