"""The boxes of a running stage, as the Docker Engine describes them; what they do is observed (loadtests/observe).

Which containers are boxes, which one is the edge and which one holds a database is read off their labels, so
that this knows no stage.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException

from infra.stage import topology
from loadtests.observe.readings import NANOSECONDS, Load, Moment, load

DEFAULT_PERIOD_US = 100_000
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH|://[^/@]*:[^/@]*@")
# Where an app tells its metrics, to who is on the network of databases and those who ask them.
METRICS = "http://{}:9100/metrics"
_METRICS_NETWORK = "_default"
APP = "http://{}:8000"
# CACHE_URL's port and database in every compose file.
CACHE = "redis://{}:6379/0"


class DockerUnreachableError(Exception):
    """The Docker Engine does not answer."""


class StageDownError(Exception):
    """The stage has no running boxes."""


@dataclass
class Box:
    """A container that stands for a machine: quota in CPUs, memory limit in bytes."""

    name: str
    service: str
    quota: float
    memory_limit: int
    labels: dict[str, str]
    container: Any

    @property
    def role(self) -> str:
        """What it shares with the boxes that do the same work: those of an upstream, or a service's several."""
        return self.labels.get("stage.upstream") or self.service

    @property
    def is_background(self) -> bool:
        """Whether no request waits for what it does."""
        return "stage.background" in self.labels

    @property
    def period_us(self) -> int:
        """Of the quota: the same share of a CPU in longer periods stalls for longer."""
        return int(self.container.attrs["HostConfig"].get("CpuPeriod") or DEFAULT_PERIOD_US)

    @property
    def one_core(self) -> bool:
        """Whether it may run on one core only (BOX_CORES)."""
        return bool(re.fullmatch(r"[0-9]+", self.container.attrs["HostConfig"].get("CpusetCpus") or ""))

    @property
    def settings(self) -> dict[str, str]:
        """What the topology sets of its environment, on top of the image's own and without secrets."""
        pairs = set(self.container.attrs["Config"].get("Env") or ())
        pairs -= set(self.container.image.attrs["Config"].get("Env") or ())
        return dict(pair.split("=", 1) for pair in sorted(pairs) if "=" in pair and not _SECRET.search(pair))


class Boxes:
    """All boxes of one compose project."""

    def __init__(self, project: str) -> None:
        """Raises DockerUnreachableError or StageDownError."""
        try:
            self._client = docker.DockerClient(base_url=_endpoint(), timeout=30)
            self.version = str(self._client.version()["Version"])
            self.info: dict[str, Any] = self._client.info()
            wanted = [
                f"com.docker.compose.project={project}",
                "stage.box=true",
                "com.docker.compose.oneoff=False",
            ]
            containers = self._client.containers.list(filters={"label": wanted})
            self.boxes = sorted((_box(one) for one in containers), key=lambda box: box.name)
        except DockerException as error:
            raise DockerUnreachableError(f"Docker does not answer: {error}. Try: make doctor") from error
        if not self.boxes:
            raise StageDownError(f"no box of {project} runs")

    def capacity(self) -> dict[str, float]:
        """CPUs of each box."""
        return {box.name: box.quota for box in self.boxes}

    def roles(self) -> dict[str, str]:
        """What each box does."""
        return {box.name: box.role for box in self.boxes}

    def waited_for(self) -> set[str]:
        """The boxes that requests wait for: all but those that work in the background."""
        return {box.name for box in self.boxes if not box.is_background}

    def edge(self) -> str:
        """Where load goes, on the stage's network."""
        for box in self.boxes:
            if port := box.labels.get("stage.edge"):
                return f"http://{box.service}:{port}"
        raise StageDownError("no box carries the label stage.edge")

    def databases(self) -> list[str]:
        """``WHAT=URL`` of each primary, on the stage's network; the password comes by PGPASSWORD."""
        labelled = {box.service: name for box in self.boxes if (name := box.labels.get(topology.DATABASE))}
        return [f"{name}={topology.database_url(nodes)}" for name, nodes in topology.databases(labelled).items()]

    def pids(self) -> dict[str, int]:
        """Each box's first process, as Docker's machine numbers it. Raises DockerUnreachableError, StageDownError."""
        found = {}
        for box in self.boxes:
            try:
                box.container.reload()
            except (DockerException, OSError) as error:
                raise DockerUnreachableError(f"{box.name} cannot be found: {error}. Try: make status") from error
            found[box.name] = int(box.container.attrs["State"]["Pid"])
            if not found[box.name]:
                raise StageDownError(f"{box.name} does not run")
        return found

    def metrics_urls(self) -> dict[str, str]:
        """Where each box would tell metrics, if it has some: of those that who observes can reach."""
        return {
            box.name: METRICS.format(box.container.name)
            for box in self.boxes
            if any(name.endswith(_METRICS_NETWORK) for name in box.container.attrs["NetworkSettings"]["Networks"])
        }

    def between(self, before: Moment, after: Moment) -> dict[str, Load]:
        """Every box's load between two moments."""
        return {
            box.name: load(before.boxes[box.name], after.boxes[box.name], box.quota)
            for box in self.boxes
            if box.name in before.boxes and box.name in after.boxes
        }

    def app_urls(self) -> list[str]:
        """Where each of the apps behind a balancer answers, on the stage's network."""
        return [APP.format(box.container.name) for box in self.boxes if "stage.upstream" in box.labels]

    def cache_urls(self) -> dict[str, str]:
        """Where each Redis that keeps what was read answers, on the stage's network; its password is the asker's."""
        return {box.name: CACHE.format(box.container.name) for box in self.boxes if "stage.cache" in box.labels}

    def caches(self) -> bool:
        """Whether one of them keeps what was read: a cache, or an edge."""
        return any("stage.cache" in box.labels or box.labels.get("stage.nginx") == "cdn" for box in self.boxes)

    def origin(self) -> Box | None:
        """The box whose log has every request that the app or its place for files is asked; None before stage 3."""
        return next((box for box in self.boxes if box.labels.get("stage.nginx") == "lb"), None)

    def log(self, box: Box, since: float, until: float) -> str:
        """What a box wrote to its standard output between two times of ``time.time``."""
        try:
            said: bytes = box.container.logs(stdout=True, stderr=False, since=since, until=until)
        except (DockerException, OSError) as error:
            raise DockerUnreachableError(f"the log of {box.name} cannot be read: {error}") from error
        return said.decode(errors="replace")


def _endpoint() -> str:
    """The Engine that the docker command would use: DOCKER_HOST, else the current context's."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    try:
        done = subprocess.run(["docker", "context", "inspect"], capture_output=True, text=True, check=True)
        return str(json.loads(done.stdout)[0]["Endpoints"]["docker"]["Host"])
    except (OSError, subprocess.CalledProcessError, ValueError, LookupError):
        return "unix:///var/run/docker.sock"


def _box(container: Any) -> Box:
    labels: dict[str, str] = container.labels
    host = container.attrs["HostConfig"]
    service = labels["com.docker.compose.service"]
    number = labels.get("com.docker.compose.container-number", "1")
    if host.get("NanoCpus"):
        quota = host["NanoCpus"] / NANOSECONDS
    elif host.get("CpuQuota", 0) > 0:
        quota = host["CpuQuota"] / (host.get("CpuPeriod") or DEFAULT_PERIOD_US)
    else:
        quota = float(os.cpu_count() or 1)
    name = service if number == "1" else f"{service}-{number}"
    return Box(name, service, quota, int(host.get("Memory") or 0), labels, container)
