"""A mail server on free ports, started as its container starts it."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2]

Start = Callable[..., "subprocess.Popen[str]"]


@dataclass(frozen=True)
class Server:
    smtp: int
    page: int
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.page}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m mail` with settings, and stops it at the end."""
    started: list[subprocess.Popen[str]] = []

    def run(**settings: object) -> "subprocess.Popen[str]":
        env = {**os.environ, "PYTHONPATH": str(FOLDER), **{name: str(value) for name, value in settings.items()}}
        command = [sys.executable, "-m", "mail"]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def server(start: Start) -> Server:
    """A running server, limited to five messages, 20,000 bytes in total, and 4,000 bytes for each message."""
    smtp, page = free_port(), free_port()
    bounds = {"MOST_MESSAGES": 5, "MOST_BYTES": 20_000, "MOST_BYTES_A_MESSAGE": 4_000}
    process = start(SMTP_PORT=smtp, PAGE_PORT=page, **bounds)
    assert process.stdout is not None
    assert process.stdout.readline() == f"SMTP on {smtp}, pages on {page}\n"
    return Server(smtp, page, process)
