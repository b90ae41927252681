"""The client's address behind a load balancer: X-Forwarded-For is trusted from the balancer only."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from conduit_testing.deployments import SECRET, NewDatabase

CODE = Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _program(url: str, trusted: str) -> Iterator[httpx.Client]:
    port = _free_port()
    environment = os.environ | {
        "PYTHONPATH": str(CODE),
        "DATABASE_URL": url,
        "JWT_SECRET": SECRET,
        "PORT": str(port),
        "METRICS_PORT": str(_free_port()),
        "LOGIN_LIMIT": "2/hour",
        "TRUSTED_PROXIES": trusted,
    }
    command = [sys.executable, "-m", "conduit", "api"]
    with (
        subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdout=subprocess.DEVNULL, cwd=CODE
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    if http.get("/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, "the program ended"
                assert time.monotonic() < deadline, "the program did not start"
                time.sleep(0.05)
            yield http
        finally:
            process.kill()


def _sign_in(http: httpx.Client, said: str, number: int) -> int:
    user = {"email": f"nobody{number}@example.com", "password": "whatever it is"}
    return http.post("/api/users/login", json={"user": user}, headers={"X-Forwarded-For": said}).status_code


def test_the_client_address_is_taken_from_a_trusted_proxy(new_database: NewDatabase) -> None:
    with _program(new_database(), "192.0.2.1, 127.0.0.0/8") as http:
        assert [_sign_in(http, "203.0.113.1", number) for number in range(3)] == [401, 401, 429]
        assert _sign_in(http, "203.0.113.2", 3) == 401
        # The balancer appends the address that it saw; anything before that is from its client.
        assert _sign_in(http, "198.51.100.9, 203.0.113.1", 4) == 429


def test_the_client_address_is_not_taken_from_anybody_else(new_database: NewDatabase) -> None:
    for trusted in ("", "192.0.2.1"):
        with _program(new_database(), trusted) as http:
            found = [_sign_in(http, f"203.0.113.{number}", number) for number in range(3)]
            assert found == [401, 401, 429]
