"""Stub servers, a made-up dataset, and a generator process that needs no database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """Starts a stub server with the given options; returns its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        process = subprocess.Popen([sys.executable, str(HERE / "stub.py"), *options], stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{process.stdout.readline().strip()}"

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def generator() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts the generator against a URL, with a dataset of its own instead of a database's."""
    running: list[subprocess.Popen[str]] = []

    def start(url: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(HERE / "generate.py"), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent.parent,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
