"""At SIGTERM the program finishes the requests in flight and exits with 0."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from conduit_testing.deployments import SECRET, NewDatabase

CODE = Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def program(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program as a box starts it, on an empty database, with its base URL once it is ready."""
    port = _free_port()
    environment = os.environ | {
        "PYTHONPATH": str(CODE),
        "DATABASE_URL": url,
        "JWT_SECRET": SECRET,
        "PORT": str(port),
        "METRICS_PORT": str(_free_port()),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "conduit", "api"], env=environment, stdout=subprocess.PIPE, text=True, cwd=CODE
    )
    base_url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                if httpx.get(f"{base_url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, "the program ended"
                assert time.monotonic() < deadline, "the program did not start"
            time.sleep(0.05)
        yield process, base_url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_at_sigterm_requests_in_flight_are_answered_and_new_ones_refused(
    program: tuple[subprocess.Popen[str], str], url: str
) -> None:
    process, base_url = program
    with psycopg.connect(url) as lock, ThreadPoolExecutor(1) as thread:
        # Blocked for a second in the database: long enough to be in flight when the signal arrives.
        lock.execute("LOCK TABLE articles")
        answer = thread.submit(httpx.get, f"{base_url}/api/articles", timeout=10)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{base_url}/health", timeout=1)
        assert process.poll() is None
        lock.rollback()
        response = answer.result()
    assert response.status_code == 200
    assert response.json() == {"articles": [], "articlesCount": 0}
    assert process.wait(timeout=10) == 0


def test_at_sigterm_an_idle_app_exits_at_once(program: tuple[subprocess.Popen[str], str]) -> None:
    process, base_url = program
    with httpx.Client(base_url=base_url) as idle:
        assert idle.get("/api/tags").json() == {"tags": []}
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - started < 3


def test_starting_two_at_once_on_an_empty_database_migrates_once(new_database: NewDatabase) -> None:
    url = new_database()
    environment = os.environ | {"PYTHONPATH": str(CODE), "DATABASE_URL": url, "JWT_SECRET": SECRET}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "conduit", "migrate"], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=30)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("the schema is migrated" in text for text in said) == [False, True]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"JWT_SECRET": "short"}, "JWT_SECRET"),
        ({"JWT_SECRET": None}, "JWT_SECRET"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"WRITE_LIMIT": "often"}, "WRITE_LIMIT"),
        ({"THREADS": "0"}, "THREADS"),
    ],
)
def test_an_invalid_setting_is_named_and_nothing_starts(changes: dict[str, str | None], named: str) -> None:
    wanted = os.environ | {
        "PYTHONPATH": str(CODE), "DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "JWT_SECRET": SECRET,
    } | changes  # fmt: skip
    environment = {name: value for name, value in wanted.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-m", "conduit", "api"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert named in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
