"""The boxes' health check, infra/images/healthy, run by bash on this machine, and servers for it to ask."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.running import ROOT

SCRIPT = ROOT / "infra/images/healthy"
PASSWORD = "secret with spaces, ü"
# Shorter times than a box's, so that these tests take seconds.
TIMES = {
    "STAYS": "2",
    "PAUSE": "0.2",
    "PAUSE_UNTIL_WELL": "0.1",
    "ILL_AFTER": "1",
    "NOT_STARTED_AFTER": "1",
    "ANSWERS_WITHIN": "0.3",
}
SOON = 0.9  # less than any of those that end something

Answer = Callable[[socket.socket], object]


class Server:
    """Does the same with each connection; counts them."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.answer, self.asked = answer, 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, suppress(ConnectionError):  # the other one may hang up first
            self.answer(client)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        self._socket.close()


@contextmanager
def serving(answer: Answer, port: int = 0) -> Iterator[Server]:
    server = Server(answer, port)
    try:
        yield server
    finally:
        server.close()


def says(text: bytes, *, hears: bytes = b"") -> Answer:
    """Answers once it was told something, or ``hears``, and hangs up."""

    def answer(client: socket.socket) -> None:
        heard = client.recv(4096)
        if hears in heard:
            client.sendall(text)

    return answer


def hangs(client: socket.socket) -> None:
    """Says nothing until the other one hangs up."""
    while client.recv(4096):
        pass


def begins(text: bytes) -> Answer:
    def answer(client: socket.socket) -> None:
        client.sendall(text)
        hangs(client)

    return answer


WELL = says(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n" + b'{"ready":true}')
REDIS_ASKS = f"*2\r\n$4\r\nAUTH\r\n${len(PASSWORD.encode())}\r\n{PASSWORD}\r\n*1\r\n$4\r\nPING\r\n".encode()
SESSION = b"\x00\x00\x00\x27\x00\x03\x00\x00user\x00conduit\x00database\x00conduit\x00\x00"


def error(state: str) -> bytes:
    """PostgreSQL's: https://www.postgresql.org/docs/17/protocol-error-fields.html"""
    fields = "\0".join(("SFATAL", "VFATAL", f"C{state}", "Mthe database system is starting up", "", "")).encode()
    return b"E" + (len(fields) + 4).to_bytes(4) + fields


class Check:
    """The script with shorter times, in a box of which it knows nothing yet."""

    def __init__(self, folder: Path, **times: str) -> None:
        self.state = folder / "healthy"
        self.script = folder / "script"
        text = SCRIPT.read_text()
        for name, value in (TIMES | times).items():
            text, found = re.subn(rf"(?m)^(|\w+=\S+ ){name}=[0-9.]+\b", rf"\g<1>{name}={value}", text)
            assert found == 1, name
        self.script.write_text(text)
        self.env = {**os.environ, "TMPDIR": str(folder), "REDISCLI_AUTH": PASSWORD}

    def start(self, *places: str) -> "subprocess.Popen[str]":
        command = ["bash", str(self.script), *places]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self, running: "subprocess.Popen[str]") -> tuple[int, str]:
        """The exit code, and what it said."""
        said, _ = running.communicate(timeout=10)
        return running.returncode, said.strip()

    def run(self, *places: str) -> tuple[int, str]:
        return self.end(self.start(*places))

    def tell(self, *places: str) -> None:
        """Have Docker know that the box is well."""
        began = time.monotonic()
        assert self.run(*places) == (0, "")
        assert time.monotonic() - began < SOON
        assert self.state.read_text() == "told before\n"


def http(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/ready"


def redis(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def postgresql(server: Server) -> str:
    return f"postgresql://127.0.0.1:{server.port}"


Place = Callable[[Server], str]
