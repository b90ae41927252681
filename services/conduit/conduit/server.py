"""uvicorn's server with a door of its own, which closes newcomers unread while the box is crowded.

To read a request and refuse it takes a good part of what it takes to answer it, so a box that is offered three times
what it can do has little left for answers. A connection that is closed unread takes a few system calls, and who is
turned away knows it at once. And the door accepts many in one turn of the event loop. libuv accepts one in each turn
(libuv#3696): a busy box has few turns a second, and newcomers waited for seconds, which no metric showed.
"""

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Callable
from functools import partial

import uvicorn

from conduit import metrics
from conduit.bulkhead import Bulkhead
from conduit.crowd import Crowd
from conduit.http_protocol import BoundedHttp

log = logging.getLogger("conduit")

# At random, since the loop's turns may be regular, and a look would always come at the same moment of one.
LOOKS_AFTER_SECONDS = (0.025, 0.075)
# In one turn, so that those who are connected have theirs.
ACCEPTED_AT_ONCE = 64
CLOSED_AT_ONCE = 1024
PAUSE_SECONDS = 1.0
NO_MORE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # files or memory
LOOPBACK = "127.0.0.1"  # the box's own health check


class Server(uvicorn.Server):
    """``config`` has BoundedHttp as its protocol.

    One that ``turns_away`` nobody is for behind a balancer, which bounds what it sends, and takes a box that closes
    connections for one that is down.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, turns_away: bool) -> None:
        super().__init__(config)
        self._listener = listener
        self._turns_away = turns_away
        self.crowd = Crowd()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets or [])
        options = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        self._door = _Door(self._listener, partial(BoundedHttp, crowd=self.crowd, **options), self.crowd)
        self._door.open(self.config.backlog, watched=self._turns_away)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._door.close()
        await super().shutdown(sockets)


class _Door:
    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], crowd: Crowd) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._crowd = crowd
        self._look_again: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[object]] = set()

    def open(self, backlog: int, *, watched: bool) -> None:
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._listen()
        if watched:
            self._look(self._loop.time())

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:  # it is not closed
            self._loop.add_reader(self._listener, self._accept)

    async def close(self) -> None:
        """And wait until all who came in are connections, which uvicorn tells that it ends."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await asyncio.gather(*self._entering, return_exceptions=True)
        if self._look_again is not None:
            self._look_again.cancel()

    def _look(self, due: float) -> None:
        now = self._loop.time()
        was = self._crowd.is_overloaded
        self._crowd.look(now, now - due, Bulkhead.all_waiting)
        if self._crowd.is_overloaded and not was:
            log.warning("more to do than this box can: newcomers are turned away")
        elif was and not self._crowd.is_overloaded:
            log.warning("all newcomers are let in again")
        due = now + random.uniform(*LOOKS_AFTER_SECONDS)  # noqa: S311 - no secret
        self._look_again = self._loop.call_at(due, self._look, due)

    def _accept(self) -> None:
        try:
            for _ in range(CLOSED_AT_ONCE if self._crowd.is_overloaded else ACCEPTED_AT_ONCE):
                connection, peer = self._listener.accept()
                if self._crowd.is_full and peer[0] != LOOPBACK:
                    self._turn_away(connection)
                else:
                    self._let_in(connection)
        except OSError as error:  # nobody else waits, or one who waited has gone
            if error.errno in NO_MORE:
                log.exception("no connection can be accepted")
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_SECONDS, self._listen)

    def _turn_away(self, connection: socket.socket) -> None:
        connection.close()
        self._crowd.is_turned_away(self._loop.time())
        metrics.TURNED_AWAY.inc()

    def _let_in(self, connection: socket.socket) -> None:
        self._crowd.enters()
        entering = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._entering.add(entering)
        entering.add_done_callback(self._has_entered)

    def _has_entered(self, entering: "asyncio.Task[object]") -> None:
        self._entering.discard(entering)
        if not entering.cancelled() and (error := entering.exception()):
            log.warning("a connection was lost before it was open", extra={"error": str(error)})
