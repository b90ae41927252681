"""Passwords: Argon2id at OWASP's minimum, with a limit on concurrent hashes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from time import sleep

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from conduit.passwords import Passwords


def test_a_hash_has_owasps_parameters_and_matches_its_password_alone() -> None:
    passwords = Passwords(2)
    stored = passwords.hash("пароль 🔑")
    found = extract_parameters(stored)
    assert (found.type, found.memory_cost, found.time_cost, found.parallelism) == (Type.ID, 19_456, 2, 1)
    assert passwords.matches("пароль 🔑", stored)
    assert not passwords.matches("пароль", stored)
    assert passwords.hash("пароль 🔑") != stored


def test_no_hash_and_a_broken_hash_match_nothing() -> None:
    passwords = Passwords(2)
    for stored in (None, "", "plain text", "$argon2id$v=19$broken"):
        assert not passwords.matches("nobody's password", stored)


def test_the_number_of_concurrent_hashes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, lock = Passwords(2), Lock()
    running, most = 0, 0

    def slow(_password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        sleep(0.02)
        with lock:
            running -= 1
        return "hash"

    monkeypatch.setattr(passwords, "_hasher", type("Slow", (), {"hash": staticmethod(slow)}))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(passwords.hash, ["x"] * 8)) == ["hash"] * 8
    assert most == 2


_TEN_THREADS_HASH = """
import threading
from conduit.memory_headroom import limit_malloc
from conduit.passwords import Passwords
limit_malloc()
passwords, done, stay = Passwords(2), threading.Barrier(11), threading.Event()
def work():
    passwords.hash("x")
    done.wait()
    stay.wait()
for _ in range(10):
    threading.Thread(target=work, daemon=True).start()
done.wait()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory as Linux shows it")
def test_threads_that_have_hashed_keep_no_memory() -> None:
    code = Path(__file__).parents[2]
    done = subprocess.run(  # noqa: S603 - this interpreter, with the text above
        [sys.executable, "-c", _TEN_THREADS_HASH], cwd=code, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60_000, f"{done.stdout} kB"
