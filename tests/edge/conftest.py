"""The edge as the stages run it, in a container of the stages' image, before an origin that a test programs."""

import itertools
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import jinja2
import pytest
import yaml

from infra.nginx.render import Server
from tests.edge.origin import Origin, as_the_app

ROOT = Path(__file__).resolve().parents[2]
_HOST = "host.docker.internal"
_IMAGE = "conduit/nginx"
CONNECTIONS = 341  # of readers, with the default box
PLACES = CONNECTIONS + CONNECTIONS // 2 + 2 * (CONNECTIONS // 8)  # with the edge's own


@dataclass(frozen=True)
class Edge:
    """A running edge: where readers find it, its container, the gateway of its network and its address there."""

    url: str
    client: httpx.Client
    container: str
    gateway: str
    address: str

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def purge(self, article_id: int) -> None:
        """As a box of the stage does, from inside."""
        assert self.status_inside("POST", f"/articles/{article_id}") == 204

    def status_inside(self, method: str, path: str) -> int:
        curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]
        return int(docker("exec", self.container, *curl, f"http://127.0.0.1:8081{path}"))


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/edge/" in item.nodeid:
            item.add_marker("docker")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def origin_server() -> Iterator[Origin]:
    with Origin().running() as origin:
        yield origin


@pytest.fixture(scope="session")
def edge(origin_server: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    docker("compose", "-f", str(ROOT / "docker-compose.stage4.yml"), "build", "cdn")
    name = f"conduit-test-edge-{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("edge")
    docker("network", "create", name)
    try:
        subnet, gateway = docker(
            "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}", name
        ).split()
        (folder / "nginx.conf").write_text(_rendered(origin_server.port, subnet, gateway))
        folder.chmod(0o755)
        docker(
            "run", "--detach", "--name", name, "--network", name, "--publish", "127.0.0.1::8000",
            "--add-host", f"{_HOST}:host-gateway", "--user", "1000:1000", "--read-only", "--cap-drop", "ALL",
            *(word for place in _memory() for word in ("--tmpfs", place)),
            "--tmpfs", "/data:uid=1000,gid=1000", "--label", "conduit.tests=edge",
            "--volume", f"{folder}/nginx.conf:/etc/nginx/nginx.conf:ro",
            "--volume", f"{ROOT}/infra/nginx/edge.js:/etc/nginx/edge.js:ro",
            _IMAGE,
        )  # fmt: skip
        port = docker("port", name, "8000/tcp").rpartition(":")[2]
        address = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=15) as client:
            edge = Edge(url, client, name, gateway, address)
            _wait_for(edge)
            yield edge
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=60, check=False)
        docker("network", "rm", name)


def _memory() -> list[str]:
    """As much, and where, as the stage's edge has."""
    stage = yaml.safe_load((ROOT / "docker-compose.stage4.yml").read_text())
    places: list[str] = stage["services"]["cdn"]["tmpfs"]
    return places


def _rendered(port: int, subnet: str, gateway: str) -> str:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "infra/nginx"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - what comes out is no HTML
    )
    lb = Server("lb", _HOST, port)
    return templates.get_template("cdn.conf.j2").render(
        stage="4", network=subnet, gateway=gateway, lb=lb, origins=["*"], connections=CONNECTIONS
    )


def _wait_for(edge: Edge) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            edge.get("/health")
        except httpx.TransportError:
            assert time.monotonic() < deadline, docker("logs", edge.container)
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def origin(origin_server: Origin) -> Origin:
    """The origin, answering as the app does, with nothing asked yet."""
    origin_server.answer = as_the_app
    origin_server.asked.clear()
    return origin_server


# Of articles, and of words, that no test asked for before.
ids = itertools.count(secrets.randbelow(2**40))


@pytest.fixture
def article() -> int:
    """The id of an article that no test asked for before."""
    return next(ids)


@pytest.fixture
def word() -> str:
    """What makes an address new to the edge."""
    return f"w{next(ids)}"


def at_a_seconds_start() -> None:
    """The edge's seconds are the clock's; what a test says of them holds wherever in one it began."""
    time.sleep(1.05 - time.time() % 1)
