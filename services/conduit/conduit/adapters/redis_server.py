"""A Redis server as requests may use it: through a circuit breaker, and for no longer than a request may wait.

Whatever a request wants from Redis can be had elsewhere, so it waits ``CALL_SECONDS`` for one call, and over all its
calls ``REQUEST_SECONDS``. Only a call that must be tried in any case may go a little beyond that. When Redis does not
answer, the circuit breaker opens for all requests, and its probe closes it again. Names are resolved by the probe,
never by a request.

The client is redis-py with hiredis, over a pool of our own. What every hit of the cache would pay for is left out:
polling a connection that is taken out, and what the client does around each command
(docs/decisions/0003-the-cache.md has the figures).
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from conduit import metrics
from conduit.adapters.circuit_breaker import CircuitBreaker, first_address
from conduit.adapters.redis_pool import CALL_SECONDS, LEAST_SECONDS, NEVER, BoundedConnection, Deadline, LastUsedPool
from conduit.errors import UnavailableError
from conduit.timing import tally

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")

REQUEST_SECONDS = 0.04
# A saturated box stands still for up to 30 ms at a time, so one late answer is no outage. Three in a row are.
LATE_ANSWERS = 3
START_SECONDS = 1.0  # how long the start waits for the first probe to succeed
PROBE_PAUSE_SECONDS = 0.2


class LateError(UnavailableError):
    """Redis did not answer in time."""


class RedisServer:
    """The server at ``redis://[user]:[password]@host:port/database``.

    The probe opens ``connections`` of them and calls ``before_use``, before any request may use the server; what that
    raises fails the probe. Connections that are lost later are replaced in the background.
    """

    def __init__(self, url: str, before_use: Callable[[], object] = lambda: None, *, connections: int = 1) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 6379
        self.name = f"{self._host}:{self._port}"
        self._deadline = Deadline()
        self._pool = LastUsedPool.from_url(
            url,
            connection_class=BoundedConnection,
            deadline=self._deadline,
            spare=connections,
            socket_timeout=None,  # the connection's own
            # `call` retries, and only where Redis has closed the connection: never after a late answer.
            retry=Retry(NoBackoff(), 0),
            client_name="conduit",
            protocol=2,  # spares each new connection the round trip of HELLO
            driver_info=None,  # and those of CLIENT SETINFO
        )
        self.client = Redis(connection_pool=self._pool)
        self._before_use = before_use
        self._filling = threading.Lock()
        self._breaker = CircuitBreaker(
            self.name, self._probe, prepare=self._connect, failures=LATE_ANSWERS, pause=PROBE_PAUSE_SECONDS
        )
        self._errors = metrics.REDIS_ERRORS.labels(self.name)
        self._answered_at = 0.0

    @property
    def pool(self) -> ConnectionPool:
        """For clients made elsewhere; their calls belong into ``call``, too."""
        return self._pool

    def run(self, script: Script, *arguments: bytes) -> Any:
        """What a registered script returns. Belongs into ``call``, like the client's commands."""
        try:
            return self._pool.execute("EVALSHA", script.sha, 0, *arguments)
        except NoScriptError:
            return script(args=arguments)  # which loads it

    @property
    def is_available(self) -> bool:
        """Whether requests may call it: the circuit is closed."""
        return self._breaker.is_closed

    def has_answered_since(self, when: float) -> bool:
        """Whether it answered any call of this process after that, on time.monotonic's clock."""
        return self._answered_at > when

    def open(self) -> None:
        """Start the probe; return when it succeeded, or after ``START_SECONDS``."""
        self._breaker.wait(START_SECONDS)

    def close(self) -> None:
        self._breaker.stop()
        self._pool.reset()

    def call(self, command: Callable[[], Reply], *, at_least: float = 0.0, required: bool = False) -> Reply:
        """What ``command`` returns, which calls the client.

        Raises LateError when that takes longer than this request may still wait, and UnavailableError when Redis can't
        be called or answers with an error. The request may wait ``at_least`` so many seconds, however long it waited
        before. If a ``required`` call has no answer, the circuit opens, also for one late answer.
        """
        request = tally.get()
        left = CALL_SECONDS
        if request is not None:
            left = max(min(left, REQUEST_SECONDS - request.redis_seconds), at_least)
        if left < LEAST_SECONDS or not self._breaker.is_closed:
            raise UnavailableError("Redis")
        started = monotonic()
        self._deadline.at = started + left
        try:
            try:
                reply = command()
            except RedisConnectionError:
                # Redis has closed it while it was idle, and those that are idle most likely with it.
                self._pool.reset(unless_after=started)
                reply = command()
        except RedisError as error:
            self._failed(error, required, started)
            raise (LateError if isinstance(error, RedisTimeoutError) else UnavailableError)("Redis") from error
        finally:
            self._deadline.at = NEVER
            ended = monotonic()
            if request is not None:
                request.redis_seconds += ended - started
        self._breaker.succeeded()
        self._answered_at = ended
        if self._pool.needs_filling and self._filling.acquire(blocking=False):
            self._pool.postpone_filling()
            self.in_background("making connections", self._pool.fill, self._filling.release)
        return reply

    def in_background(
        self, what: str, work: Callable[[], object], finally_: Callable[[], object] = lambda: None
    ) -> None:
        """Do ``work`` in a thread, then ``finally_`` in any case. ``what`` names the work in the log."""

        def run() -> None:
            try:
                work()
            except (UnavailableError, RedisError) as error:
                log.info(f"{what} failed", extra={"server": self.name, "cause": repr(error)})
            finally:
                finally_()

        try:
            threading.Thread(target=run, name=f"background {self.name}", daemon=True).start()
        except RuntimeError as error:  # no more threads
            log.warning(f"{what} failed", extra={"server": self.name, "cause": repr(error)})
            finally_()

    def _failed(self, error: RedisError, required: bool, began: float) -> None:
        self._errors.inc()
        if isinstance(error, ResponseError):
            log.warning("Redis answered with an error", extra={"server": self.name, "cause": str(error)})
        elif isinstance(error, RedisTimeoutError) and not required:
            self._breaker.failed(error, began)
        else:
            self.open_circuit(error)

    def open_circuit(self, cause: object) -> None:
        """Let no request call it until a probe has succeeded that began after this."""
        self._breaker.trip(cause)

    def _connect(self) -> None:
        first_address(self._host, self._port, self._connect_to)

    def _connect_to(self, address: str) -> None:
        # Connecting also authenticates and selects the database: either may be refused.
        if self._pool.connect_to(address):
            return  # the few that are missing can wait until the circuit is closed
        try:
            self._pool.fill()
        except RedisError as error:  # a busy box may be too slow for so many: the rest follows
            log.info("not all connections were made", extra={"server": self.name, "cause": repr(error)})

    def _probe(self) -> None:
        self.client.ping()
        self._before_use()
