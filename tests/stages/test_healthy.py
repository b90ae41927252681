"""The boxes' health check, infra/images/healthy: run by bash on this machine against servers of all kinds."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conduit_testing.waiting import until
from tests.stages.conftest import ROOT

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


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def http(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/ready"


def redis(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}"


def postgresql(server: Server) -> str:
    return f"postgresql://127.0.0.1:{server.port}"


Place = Callable[[Server], str]


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        (http, says(b"HTTP/1.1 204 No Content\r\n\r\n", hears=b"GET /ready HTTP/1.1\r\n")),
        (http, says(b"HTTP/1.0 200 OK\r\n\r\n", hears=b"Connection: close\r\n")),
        (http, says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)),
        (redis, says(b"+OK\r\n+PONG\r\n", hears=REDIS_ASKS)),
        # Both leave the connection open; nothing more is waited for.
        (redis, begins(b"+OK\r\n+PONG\r\n")),
        (postgresql, begins(b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")),
        (postgresql, says(b"R", hears=SESSION)),
        (postgresql, says(error("53300"))),  # it has no session left, and works
    ],
)
def test_who_answers_is_well(check: Check, place: Place, answer: Answer) -> None:
    with serving(answer) as server:
        check.tell(place(server))
    assert server.asked == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "answer", "said"),
    [
        (http, says(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "HTTP/1.1 503 Service Unavailable"),
        (http, says(b"HTTP/1.1 302 Found\r\n\r\n"), "HTTP/1.1 302 Found"),
        (http, says(b"+PONG\r\n"), "+PONG"),
        (http, says(b""), "no answer"),
        (http, hangs, "no answer within 0.3 s"),
        (http, begins(b"HTTP/1.1 200 OK\r\n\r\n"), "no answer within 0.3 s"),  # its end does not come
        (redis, says(b"-NOAUTH Authentication required.\r\n" * 2), "-NOAUTH Auth"),
        (redis, says(b"+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"), "+OK"),
        (redis, says(b"+OK\r\n-MISCONF Errors writing to the AOF file\r\n"), "+OK"),
        (redis, hangs, "no answer within 0.3 s"),
        (postgresql, says(error("57P03")), "the database system is starting up"),
        (postgresql, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "H"),
        (postgresql, says(b"E"), "no answer"),
        (postgresql, says(b""), "no answer"),
        (postgresql, hangs, "no answer within 0.3 s"),
    ],
)
def test_who_does_not_answer_well_is_ill(check: Check, place: Place, answer: Answer, said: str) -> None:
    with serving(answer) as server:
        code, told = check.run(place(server))
    assert code == 1
    assert told.startswith(f"{place(server)}: {said}"), told
    assert server.asked > 1
    assert not check.state.read_text().startswith("told")


@pytest.mark.slow
@pytest.mark.parametrize("place", [http, redis, postgresql])
def test_where_nobody_is_the_box_is_ill(check: Check, place: Place) -> None:
    with serving(hangs) as server:
        pass
    assert check.run(place(server)) == (1, f"{place(server)}: nobody takes the connection")


@pytest.mark.slow
def test_who_takes_no_connections_any_more_does_not_hold_it_up(check: Check) -> None:
    """As a program that stands still and whose queue is full: to connect takes as long as the kernel's patience."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        place = f"http://127.0.0.1:{full.getsockname()[1]}/ready"
        began = time.monotonic()
        assert check.run(place) == (1, f"{place}: nobody takes the connection")
        assert time.monotonic() - began < 5
        for one in waiting:
            one.close()


def test_a_program_that_keeps_the_time_in_a_file_is_well(check: Check, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.write_text(f"{time.time() - 25:.0f}\n")
    check.tell(str(file))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "nothing", "1700000000\n", None])
def test_a_program_that_kept_it_long_ago_or_never_is_ill(check: Check, tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "alive"
    if text is not None:
        file.write_text(text)
    assert check.run(str(file)) == (1, f"{file}: not there, or old")


@pytest.mark.parametrize("place", ["https://127.0.0.1:1/", "http://db:80/", "ready"])
def test_a_place_that_it_cannot_ask_is_a_mistake(check: Check, place: str) -> None:
    assert check.run(place) == (2, f"no place to ask: {place}")


@pytest.mark.slow
def test_all_places_have_to_answer(check: Check) -> None:
    with serving(WELL) as well, serving(says(b"")) as ill:
        check.tell(http(well), http(well))
        assert check.run(http(well), http(ill)) == (1, f"{http(ill)}: no answer")


@pytest.mark.slow
def test_a_box_that_is_well_is_asked_again_and_again_by_one_process_and_the_one_that_watches_it(check: Check) -> None:
    with serving(WELL) as server:
        check.tell(http(server))
        began = time.monotonic()
        running = check.start(http(server))
        seen, opened = [], []
        while running.poll() is None:
            # Nothing else is started: a process for each pause or each answer would be seen in some of these.
            seen.append(_processes(running.pid))
            with suppress(OSError):  # it may end just now
                opened.append(len(list(Path(f"/proc/{running.pid}/fd").iterdir())))
            time.sleep(0.02)
        assert check.end(running) == (0, "")
        assert time.monotonic() - began > 1
        assert 4 < server.asked < 15
    assert max(map(len, seen)) == 2
    assert len({process for look in seen for process in look}) == 2
    assert opened[-1] <= opened[len(opened) // 2], "connections are not closed"
    assert check.state.read_text() == "told before\n"


def _runs(process: int) -> bool:
    """Not if it has ended, and nobody has asked how yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def _processes(parent: int) -> list[int]:
    """It and its children, as long as they are there."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return []
    return [parent, *map(int, children)]


@pytest.mark.slow
def test_a_box_that_falls_ill_is_told_and_so_is_one_that_is_well_again(check: Check) -> None:
    with serving(WELL) as server:
        check.tell(http(server))
        running = check.start(http(server))
        until(lambda: server.asked > 2, "not asked", within=5)
        server.answer = says(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        began = time.monotonic()
        assert check.end(running)[0] == 1
        assert time.monotonic() - began < 1 + 2 * 0.3 + SOON
        # Docker starts the next one, which waits for it to be well again.
        running = check.start(http(server))
        time.sleep(0.3)
        server.answer = WELL
        began = time.monotonic()
        assert check.end(running) == (0, "")
        assert time.monotonic() - began < SOON


@pytest.mark.slow
def test_one_answer_that_failed_is_not_told(check: Check) -> None:
    with serving(WELL) as server:
        check.tell(http(server))
        running = check.start(http(server))
        until(lambda: server.asked > 2, "not asked", within=5)
        server.answer, asked = says(b""), server.asked
        until(lambda: server.asked > asked, "not asked", within=5)
        server.answer = WELL
        assert check.end(running) == (0, "")


@pytest.mark.slow
def test_a_box_that_starts_is_told_as_soon_as_it_is_there(check: Check) -> None:
    with serving(hangs) as closed:
        pass
    running = check.start(http(closed))
    time.sleep(0.7)
    assert running.poll() is None
    with serving(WELL, closed.port):
        began = time.monotonic()
        assert check.end(running) == (0, "")
        assert time.monotonic() - began < SOON


@pytest.mark.slow
def test_a_start_may_take_longer_than_an_illness(tmp_path: Path) -> None:
    check = Check(tmp_path, NOT_STARTED_AFTER="3")
    with serving(WELL) as server:
        pass

    def seconds_until_ill() -> float:
        began = time.monotonic()
        assert check.run(http(server))[0] == 1
        return time.monotonic() - began

    first, second = seconds_until_ill(), seconds_until_ill()
    with serving(WELL, server.port):
        check.tell(http(server))
    assert seconds_until_ill() + 0.5 < min(first, second)


_AS_FIRST_PROCESS = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans become its own
code = subprocess.run(sys.argv[1:]).returncode
time.sleep(0.3)
try:
    print(code, "left", *os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print(code, "left nothing")
"""


@pytest.mark.slow
def test_it_leaves_no_process_to_a_box_s_first_one(check: Check) -> None:
    """Few programs look after children that are not theirs: they would be there until no more fit into the box."""
    with serving(WELL) as server:
        for expected in ("0 left nothing", "1 left nothing"):
            command = [sys.executable, "-c", _AS_FIRST_PROCESS, "bash", str(check.script), http(server)]
            said = subprocess.run(command, env=check.env, capture_output=True, text=True, timeout=10, check=True)
            assert said.stdout.splitlines()[-1] == expected
            server.answer = says(b"")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_was_cut_off_has_told_nothing_and_leaves_nothing(check: Check, how: signal.Signals) -> None:
    """As by Docker, when the box is paused: it calls the box unhealthy until the next one says otherwise."""
    with serving(WELL) as server:
        check.tell(http(server))
        running = check.start(http(server))
        until(lambda: server.asked > 2, "not asked", within=5)
        processes = _processes(running.pid)
        assert len(processes) == 2
        running.send_signal(how)
        assert check.end(running)[0] != 0
        until(lambda: not any(map(_runs, processes)), "still there", within=SOON)
        check.tell(http(server))


@pytest.mark.slow
def test_of_two_the_one_that_was_started_last_goes_on(check: Check) -> None:
    with serving(WELL) as server:
        check.tell(http(server))
        first = check.start(http(server))
        until(lambda: server.asked > 1, "not asked", within=5)
        check.tell(http(server))
        second = check.start(http(server))
        assert check.end(first) == (1, "")
        assert second.poll() is None
        assert check.end(second) == (0, "")


def test_where_nothing_can_be_written_it_tells_each_time(check: Check) -> None:
    check.env["TMPDIR"] = "/nowhere"
    with serving(WELL) as server:
        for _ in range(2):
            assert check.run(http(server)) == (0, "")
    assert server.asked == 2
