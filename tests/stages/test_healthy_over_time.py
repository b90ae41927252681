"""How the boxes' health check, infra/images/healthy, goes on: what it tells of a box that changes, what it leaves."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from conduit_testing.waiting import until
from tests.stages.checked import SOON, WELL, Check, hangs, http, says, serving


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
    # At rest, for any one look may see a connection that is just open.
    early, late = opened[len(opened) // 4 : len(opened) // 2], opened[len(opened) // 2 :]
    assert min(late) <= min(early), "connections are not closed"
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
