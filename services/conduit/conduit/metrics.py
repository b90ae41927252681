"""Prometheus metrics: latency and errors of requests, database calls, tasks, the cache and mail.

They are served on a separate port, which no stage publishes.
"""

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)

REQUESTS = Histogram(
    "conduit_request_seconds", "Seconds from a request's headers to the end of its response",
    ["method", "route", "status"],
    buckets=_BUCKETS,
)  # fmt: skip
IN_FLIGHT = Gauge("conduit_requests_in_flight", "Requests accepted and not answered yet")
SHED = Counter("conduit_requests_shed_total", "Requests refused because of overload")
TURNED_AWAY = Counter("conduit_connections_turned_away_total", "Connections closed unread because of overload")
QUERIES = Histogram("conduit_database_seconds", "Seconds of one database call", ["server", "kind"], buckets=_BUCKETS)
CHECKOUTS = Histogram(
    "conduit_database_checkout_seconds",
    "Seconds waited for a database connection",
    ["server"],
    buckets=_BUCKETS,
)
DATABASE_ERRORS = Counter("conduit_database_errors_total", "Database calls that failed", ["server", "kind"])
REPLICA_LAG = Gauge("conduit_replica_lag_seconds", "How old a replica's answers are at most", ["server"])
REPLICA_READS = Counter(
    "conduit_replica_reads_total",
    "Database calls that a replica may answer, by who did: replica; or the primary, because the replica is busy, away, "
    "lagging (MAX_LAG) or behind what the reader must see, or because that is unknown",
    ["server", "by"],
)
PINS_LOST = Counter("conduit_pins_lost_total", "Writes whose author may not see them at once: no pin, and no replica")
# Images, mail and reports, inside a request or in a worker.
TASKS = Histogram(
    "conduit_task_seconds", "Seconds of one task, including its database calls", ["task"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0),
)  # fmt: skip
TASK_CPU = Counter("conduit_task_cpu_seconds_total", "CPU seconds of the threads that ran tasks", ["task"])
TASK_FAILURES = Counter("conduit_task_failures_total", "Tasks that raised an error", ["task"])
TASKS_DROPPED = Counter("conduit_tasks_dropped_total", "Follow-up tasks never started, for lack of time", ["task"])
TASK_WAITS = Histogram(
    "conduit_task_wait_seconds", "Seconds from enqueuing a task until a worker claims it", ["task"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)  # fmt: skip
TASKS_CLOSED = Counter(
    "conduit_tasks_closed_total",
    "Attempts by the task's state afterwards: done, retrying or dead; or lost, to another attempt",
    ["task", "result"],
)
TASKS_SENT = Counter("conduit_tasks_sent_total", "Task messages by result", ["result"])
CACHE_READS = Counter(
    "conduit_cache_reads_total",
    "Cache reads by result: hit, miss, shared (another request of this process read it), away (no cache), not cached",
    ["what", "result"],
)
CACHE_SECONDS = Histogram(
    "conduit_cache_seconds", "Seconds of one call of the cache", ["call"],
    buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
)  # fmt: skip
CACHE_REFUSED = Counter("conduit_cache_fills_refused_total", "Values that were older than a change by when they came")
REDIS_ERRORS = Counter("conduit_redis_errors_total", "Calls of Redis that failed", ["server"])
PURGES = Counter("conduit_edge_purges_total", "Articles purged from the edge cache, by result", ["result"])
MAILS = Counter("conduit_mails_total", "Mail messages by result", ["result"])
