"""What became of a request, and where its time went: a tally for each, in a context variable that the thread pool
passes on.
"""

from contextvars import ContextVar
from time import perf_counter


class Tally:
    """The time and calls that one request spends in the database, Redis and tasks, and the status of its response."""

    __slots__ = (
        "database_seconds",
        "missing",
        "queries",
        "redis_seconds",
        "replica_lag",
        "started",
        "status",
        "task_seconds",
    )

    def __init__(self) -> None:
        self.started = perf_counter()
        self.status = 0  # as long as there is no response
        self.database_seconds = 0.0
        self.queries: dict[str, int] = {}
        # How many seconds old what replicas answered is at most.
        self.replica_lag = 0.0
        # Servers that did not answer, and whose rows the response lacks.
        self.missing: set[str] = set()
        # Cache and rate limits. The budget of a request's time for Redis uses it as well.
        self.redis_seconds = 0.0
        # By kind of the tasks done inside the request, including their queries.
        self.task_seconds: dict[str, float] = {}

    def add_query(self, server: str, seconds: float) -> None:
        self.database_seconds += seconds
        self.queries[server] = self.queries.get(server, 0) + 1

    def add_task(self, kind: str, seconds: float) -> None:
        self.task_seconds[kind] = self.task_seconds.get(kind, 0.0) + seconds


# None outside of a request.
tally: ContextVar[Tally | None] = ContextVar("tally", default=None)
