"""A TCP proxy between the app and PostgreSQL or Redis, which a test can cut, hold, slow down and mend."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Relays TCP. When cut, it refuses connections. On hold, it accepts them and passes nothing on, as a frozen box."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener: socket.socket | None = self._listen(0)
        self._port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        # Held from a connection's start until it is among the pairs. Otherwise a new connection could survive a cut.
        self._connecting = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._delay = 0.0
        user = f"{parts.username}@" if parts.username else ""
        self.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self._port}"))
        self._accept_in_background()

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        return listener

    def drop_connections(self) -> None:
        """Close all connections, as a restarted server does; new ones work."""
        with self._connecting:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Behave like a server that is down: close all connections and refuse new ones."""
        if self._listener is not None:
            # Shut down first, which wakes the thread that waits in accept.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            with self._connecting:
                self._listener = None
        self.drop_connections()

    def hold(self) -> None:
        """Behave like a server that hangs: nothing passes on old or new connections, and nothing is closed."""
        self._flowing.clear()

    def slow(self, seconds: float) -> None:
        """Behave like a slow server: delay everything in each direction."""
        self._delay = seconds

    def mend(self) -> None:
        """Make everything work again, and pass on what was held."""
        self._delay = 0.0
        self._flowing.set()
        if self._listener is None:
            self._listener = self._listen(self._port)
            self._accept_in_background()

    def close(self) -> None:
        self._closed = True
        self._flowing.set()
        self.cut()

    def _accept_in_background(self) -> None:
        assert self._listener is not None
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._flowing.wait()
        with self._connecting:
            try:
                if self._listener is None:
                    raise ConnectionRefusedError
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                return
            self._pairs.append((client, server))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._flowing.wait()
                time.sleep(self._delay)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
