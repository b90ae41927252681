"""The boxes of a running stage, read from outside through the Docker Engine: CPU, throttling, memory, programs.

Which containers are boxes, which one is the edge and which one holds a database is read off their labels, so
that this knows no stage.
"""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException

NANOSECONDS = 1e9
DEFAULT_PERIOD_US = 100_000
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|://[^/@]*:[^/@]*@")
# Where an app tells its metrics, to whoever is on the same machine.
METRICS = "http://127.0.0.1:9100/metrics"
# /proc's clock ticks: USER_HZ, the same 100 on every Linux that Docker runs on.
TICKS_PER_SECOND = 100.0
# Less than this of a box's CPU, as a supervisor takes, is not worth asking the box again.
LEAST_PART = 0.02
OTHERS = "other"
"""What has no name below, as the bash of a health check."""
PROGRAMS = (
    (re.compile(r"postgres"), "PostgreSQL"),
    (re.compile(r"nginx"), "NGINX"),
    (re.compile(r"redis"), "Redis"),
    (re.compile(r"celery"), "worker"),
    (re.compile(r"runsv|runit|supervis|s6-|tini|docker-init"), "supervisor"),
    (re.compile(r"python|uvicorn"), "app"),
)


class DockerUnreachableError(Exception):
    """The Docker Engine does not answer."""


class StageDownError(Exception):
    """The stage has no running boxes."""


@dataclass(frozen=True)
class Reading:
    """A box's counters at a moment.

    ``at`` is ``time.monotonic``, CPU in ns, memory in bytes without page cache.
    """

    at: float
    cpu_ns: int
    periods: int
    throttled: int
    memory: int


@dataclass(frozen=True)
class Load:
    """A box between two readings.

    ``cpu`` in CPUs used, ``utilisation`` of its quota, ``throttled`` of periods.
    """

    cpu: float
    utilisation: float
    throttled: float
    memory: int

    def record(self) -> dict[str, float]:
        """For the record of the run."""
        return {
            "cpu": round(self.cpu, 5),
            "utilisation": round(self.utilisation, 4),
            "throttled": round(self.throttled, 4),
            "memory": self.memory,
        }


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
    def period_us(self) -> int:
        """Of the quota: the same share of a CPU in longer periods stalls for longer."""
        return int(self.container.attrs["HostConfig"].get("CpuPeriod") or DEFAULT_PERIOD_US)

    @property
    def settings(self) -> dict[str, str]:
        """What the topology sets of its environment, on top of the image's own and without secrets."""
        pairs = set(self.container.attrs["Config"].get("Env") or ())
        pairs -= set(self.container.image.attrs["Config"].get("Env") or ())
        return dict(pair.split("=", 1) for pair in sorted(pairs) if "=" in pair and not _SECRET.search(pair))

    def between(self, before: Reading, after: Reading) -> Load:
        """What it did between two readings."""
        seconds = after.at - before.at
        cpu = (after.cpu_ns - before.cpu_ns) / NANOSECONDS / seconds if seconds > 0 else 0.0
        periods = after.periods - before.periods
        throttled = (after.throttled - before.throttled) / periods if periods > 0 else 0.0
        return Load(cpu, cpu / self.quota, throttled, after.memory)


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
        # A connection each, twice: stats of all boxes are asked for at the same moment, and glances meanwhile.
        self._pool = ThreadPoolExecutor(max_workers=2 * len(self.boxes))
        # A command in a box costs the box and the machine CPU: only those are asked again that had something to tell.
        self._mixed = self._telling = self.boxes

    def capacity(self) -> dict[str, float]:
        """CPUs of each box."""
        return {box.name: box.quota for box in self.boxes}

    def roles(self) -> dict[str, str]:
        """What each box does."""
        return {box.name: box.role for box in self.boxes}

    def edge(self) -> str:
        """Where load goes, on the stage's network."""
        for box in self.boxes:
            if port := box.labels.get("stage.edge"):
                return f"http://{box.service}:{port}"
        raise StageDownError("no box carries the label stage.edge")

    def databases(self) -> list[str]:
        """``SHARDS=URL`` of each primary, on the stage's network; the password comes by PGPASSWORD."""
        return [
            f"{shards}=postgresql://conduit@{box.service}:5432/conduit"
            for box in self.boxes
            if (shards := box.labels.get("stage.database"))
        ]

    def read(self) -> dict[str, Reading]:
        """Every box's counters, now. Raises DockerUnreachableError."""
        try:
            return dict(zip(self.capacity(), self._pool.map(_reading, self.boxes), strict=True))
        except (DockerException, OSError, KeyError) as error:
            raise DockerUnreachableError(f"a box cannot be read: {error}. Did it stop? make status") from error

    def between(self, before: dict[str, Reading], after: dict[str, Reading]) -> dict[str, Load]:
        """Every box's load between two readings."""
        return {box.name: box.between(before[box.name], after[box.name]) for box in self.boxes}

    def programs(self) -> dict[str, dict[str, float]]:
        """CPU seconds so far of each box's programs, children included, by program.

        Of the boxes that were found to run one program only, nothing.
        """
        found = list(zip(self._mixed, self._pool.map(_programs, self._mixed), strict=True))
        self._mixed = [box for box, seconds in found if _several(seconds)]
        return {box.name: seconds for box, seconds in found}

    def metrics(self) -> dict[str, tuple[float, str]]:
        """``time.monotonic`` and the metrics, of each box that tells some; it spends CPU to tell them."""
        found = list(zip(self._telling, self._pool.map(_metrics, self._telling), strict=True))
        telling = [box for box, (_, text) in found if text]
        if len(self._telling) == len(self.boxes) and telling:
            self._telling = telling
        return {box.name: (at, text) for box, (at, text) in found if text}

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


class Glances:
    """The boxes' loads for people who watch.

    Read beside what is measured, for which nothing may wait: Docker may answer a second later.
    """

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        self._before: dict[str, Reading] = {}
        self._loads: dict[str, Load] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def latest(self) -> dict[str, Load]:
        """What was found last; begins to look again."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self._loads

    def _read(self) -> None:
        try:
            reading = self._boxes.read()
        except DockerUnreachableError:
            return  # told by what measures
        if self._before:
            self._loads = self._boxes.between(self._before, reading)
        self._before = reading


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


def _reading(box: Box) -> Reading:
    # Docker's names are the same for cgroup v1 and v2, but for the page cache that can be given up.
    stats = box.container.stats(stream=False, one_shot=True)
    cpu, memory = stats["cpu_stats"], stats.get("memory_stats", {})
    throttling = cpu.get("throttling_data", {})
    details = memory.get("stats", {})
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Reading(
        at=time.monotonic(),
        cpu_ns=int(cpu["cpu_usage"]["total_usage"]),
        periods=int(throttling.get("periods", 0)),
        throttled=int(throttling.get("throttled_periods", 0)),
        memory=max(0, int(memory.get("usage", 0)) - int(cache)),
    )


def _metrics(box: Box) -> tuple[float, str]:
    at = time.monotonic()
    try:
        code, out = box.container.exec_run(["curl", "-fsS", "-m", "10", METRICS])
    except DockerException:
        return at, ""
    return at, out.decode(errors="replace") if code == 0 else ""


def _several(seconds: dict[str, float]) -> bool:
    """Whether more than one program that has a name takes a part worth telling of a box's CPU."""
    least = LEAST_PART * sum(seconds.values())
    return sum(spent > least for program, spent in seconds.items() if program != OTHERS) > 1


def _programs(box: Box) -> dict[str, float]:
    try:
        code, out = box.container.exec_run(["sh", "-c", "cat /proc/[0-9]*/stat"])
    except DockerException:
        return {}
    # A process that ended between the listing and the reading makes `cat` fail, not the others' lines.
    return group_programs(out.decode(errors="replace").splitlines()) if out or code == 0 else {}


def group_programs(lines: Iterable[str]) -> dict[str, float]:
    """CPU seconds by program out of lines of /proc/PID/stat.

    Utime, stime and those of reaped children (proc(5)).
    """
    seconds: dict[str, float] = {}
    for line in lines:
        head, _, tail = line.rpartition(")")
        fields = tail.split()
        if "(" not in head or len(fields) < 15:
            continue
        command = head.split("(", 1)[1]
        program = next((name for pattern, name in PROGRAMS if pattern.search(command)), OTHERS)
        ticks = sum(int(field) for field in fields[11:15])
        seconds[program] = seconds.get(program, 0.0) + ticks / TICKS_PER_SECOND
    return seconds
