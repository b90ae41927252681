"""Locust as `make stageN load` starts it, only without its pages, against a server whose behaviour is known."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# A generator of its own for each test, and the seconds of its trials.
pytestmark = pytest.mark.realtime

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 6


def _run(url: str, users: int) -> tuple[int, list[dict[str, Any]]]:
    """Locust's exit code (1 when a request failed) and its statistics, a route each."""
    options = ["--headless", "--json", "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{SECONDS}s"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(HERE / "locust_made_up.py"),
            "--host",
            url,
            "--mix",
            "browse",
            *options,
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout)


def _per_second(routes: list[dict[str, Any]]) -> float:
    begun = min(route["start_time"] for route in routes)
    ended = max(route["last_request_timestamp"] for route in routes)
    return float(sum(route["num_requests"] for route in routes) / (ended - begun))


def test_the_number_of_users_is_the_requests_per_second(stub: Callable[..., str]) -> None:
    users = 100
    code, routes = _run(stub(), users)
    assert sum(route["num_failures"] for route in routes) == 0, routes
    assert code == 0
    offered = users * SECONDS
    assert abs(_per_second(routes) - users) < 4 * math.sqrt(offered) / SECONDS, "a Poisson process at that rate"


def test_who_waits_does_not_slow_down_who_arrives(stub: Callable[..., str]) -> None:
    """A closed model of as many users, each waiting for an answer, would offer what the server does: 25 a second."""
    users = 100
    code, routes = _run(stub("--service", "0.04", "--slots", "20"), users)
    assert code == 1
    assert sum(route["num_failures"] for route in routes) > 0.5 * users * SECONDS, "what was refused"
    assert abs(_per_second(routes) - users) < 0.2 * users
