"""Stage 3's balancer between a client and boxes that tell what they were asked."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from conduit_testing.waiting import until
from infra.nginx.render import render
from tests.running import ROOT

NETWORK = "10.93.19"
AT_ONCE = 3
ANSWERS_AGAIN_WITHIN = 10
# Says what it was asked, one line a request. A path may name a box that breaks off without an answer, or be slow.
BOX = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

name, port = sys.argv[1:]

class Box(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = {"box": name, "method": self.command, "path": self.path, "headers": dict(self.headers.items())}
        print(json.dumps(asked) + "\\n", end="", flush=True)  # in one piece: others are writing too
        if self.path.endswith("breaks-at-" + name):
            self.close_connection = True
            return
        if "slow" in self.path:
            time.sleep(2)
        answer = json.dumps(asked | {"bytes": len(body), "padding": "x" * 5000}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass

ThreadingHTTPServer.request_queue_size = 100
ThreadingHTTPServer(("0.0.0.0", int(port)), Box).serve_forever()
"""


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words[:2]}: {done.stderr}"
    return done.stdout.strip()


def configuration() -> str:
    """As a stage's file with two apps would have it."""
    apps = {
        f"app{place}": {
            "labels": {"stage.upstream": "app"},
            "environment": {"MEDIA_URL": "http://media:8080"},
            "networks": {"app": {"ipv4_address": f"{NETWORK}.1{place}"}},
            "cpu_quota": "2500",
            "cpu_period": "10000",
        }
        for place in (1, 2)
    }
    nginx = {
        role: {
            "labels": {"stage.nginx": role, "stage.at-once": str(AT_ONCE)},
            "volumes": [{"source": f"/{role}.conf", "target": "/etc/nginx/nginx.conf"}],
            "networks": {"app": {"ipv4_address": f"{NETWORK}.{last}"}},
        }
        for role, last in (("lb", 10), ("media", 30))
    }
    addresses = {"subnet": f"{NETWORK}.0/24", "gateway": f"{NETWORK}.1"}
    config = {
        "name": "conduit-stage3",
        "services": apps | nginx,
        "networks": {"app": {"ipam": {"config": [addresses]}}},
    }
    return next(one.text for one in render(config) if one.role == "lb")


@dataclass(frozen=True)
class Balanced:
    """NGINX at ``url``, and what is behind it."""

    url: str
    project: str

    def container(self, name: str) -> str:
        return f"{self.project}-{name}"

    def asked(self, path: str) -> list[dict[str, Any]]:
        """What arrived at any box for a path."""
        lines = [
            line for name in ("app1", "app2", "media") for line in docker("logs", self.container(name)).splitlines()
        ]
        return [found for found in map(json.loads, lines) if found["path"] == path]

    def logged(self, path: str) -> list[dict[str, Any]]:
        """NGINX's lines for a path; it writes them once a second."""
        time.sleep(1.2)
        lines = docker("logs", self.container("lb")).splitlines()
        return [found for found in map(json.loads, lines) if found["path"] == path]

    def boxes(self, requests: int = 8) -> set[str]:
        """Which answer."""
        with httpx.Client(base_url=self.url) as http:
            return {http.get("/api/whoever").raise_for_status().json()["box"] for _ in range(requests)}


@contextmanager
def balanced(folder: Path) -> Iterator[Balanced]:
    """The balancer and its boxes, in containers; its configuration is kept in ``folder``."""
    subprocess.run(
        ["docker", "compose", "-f", "docker-compose.stage3.yml", "build", "--quiet", "lb", "app1"], cwd=ROOT, check=True
    )
    project = f"conduit-test-lb-{secrets.token_hex(4)}"
    file = folder / "nginx.conf"
    file.write_text(configuration())
    bare = ["run", "--detach", "--read-only", "--user", "1000:1000", "--cap-drop", "ALL", "--network", project]
    places = [word for place in ("tmp", "run") for word in ("--tmpfs", f"/{place}:uid=1000")]
    docker("network", "create", "--subnet", f"{NETWORK}.0/24", project)
    try:
        for name, last, port in (("app1", 11, 8000), ("app2", 12, 8000), ("media", 30, 8080)):
            at = ["--name", f"{project}-{name}", "--ip", f"{NETWORK}.{last}"]
            docker(*bare, *at, "conduit/app", "python", "-c", BOX, name, str(port))
        at = ["--name", f"{project}-lb", "--ip", f"{NETWORK}.10", "--publish", "127.0.0.1::8000"]
        docker(*bare, *places, *at, "-v", f"{file}:/etc/nginx/nginx.conf:ro", "conduit/nginx")
        found = Balanced(f"http://127.0.0.1:{docker('port', f'{project}-lb', '8000').rpartition(':')[2]}", project)
        all_answer(found)
        yield found
    finally:
        names = docker("ps", "--all", "--filter", f"name={project}", "--format", "{{.Names}}").split()
        docker("rm", "--force", *names)
        docker("network", "rm", project)


def in_time(holds: Callable[[], bool]) -> None:
    """Wait until it holds, while boxes may be away."""
    until(holds, "it was not so in time", within=ANSWERS_AGAIN_WITHIN, pause=0.1, not_yet=(httpx.HTTPError,))


def all_answer(lb: Balanced) -> None:
    """Wait until each box is asked again."""
    in_time(lambda: lb.boxes() == {"app1", "app2"})
