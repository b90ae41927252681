"""What a stage consists of, read from the labels in its compose file and nowhere else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.stage.problems import Problem
from infra.stage.shell import answer, compose

DEFAULT_PERIOD = 100_000  # Docker's
DATABASE = "stage.database"
DIRECTORY = "directory"


@dataclass(frozen=True)
class Topology:
    """One stage: its project, its boxes (memory in bytes, CPU in cores), its edge, its databases, its place for
    files, and beside the boxes the services that have a page.
    """

    number: int
    project: str
    boxes: dict[str, "Box"]
    edge: str
    """The service that load goes to."""
    edge_port: int
    """Its port on the stage's network."""
    published: int
    """Its port on 127.0.0.1."""
    databases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Logical shards, as "0-63", to the service that holds them. Where only the directory knows which server holds
    which: DIRECTORY to its service, and then each server's name to its nodes, of which one is the primary."""
    media: tuple[str, str] | None = None
    """The service that keeps the files, and the directory where."""
    caches: tuple[str, ...] = ()
    """Redis services that keep what the databases said."""
    pages: dict[str, int] = field(default_factory=dict)
    """Services that are no boxes but always there, to the port of their page on 127.0.0.1."""
    subnets: Mapping[str, str] = field(default_factory=dict)
    """The addresses that it wants for itself, as 10.83.3.0/25, by the name of the network."""
    balancer: str | None = None
    """The service that shares requests among the apps."""
    apps: tuple[str, ...] = ()
    """Those that it shares them among."""
    worker: str | None = None
    """The service that does what waits in the queue, on one box or several."""
    sync: str = ""
    """Whether a commit waits for a replica: off, on or strict; empty without replicas."""

    @property
    def url(self) -> str:
        """Where the stage answers on this machine."""
        return f"http://127.0.0.1:{self.published}"

    @property
    def page_urls(self) -> dict[str, str]:
        """Where the pages of the services beside the boxes are, by service."""
        return {service: f"http://127.0.0.1:{port}" for service, port in self.pages.items()}

    @property
    def inside_url(self) -> str:
        """Where it answers on its own network, without this machine's port proxy."""
        return f"http://{self.edge}:{self.edge_port}"

    @property
    def is_sharded(self) -> bool:
        """Whether the rows are on several servers, and a directory says where."""
        return DIRECTORY in self.databases

    def database_urls(self, by_container: bool = False) -> list[str]:
        """Each as "0-63=postgresql://…", for tools on the stage's network, or, ``by_container``, for one that is on
        several: each host by its container's name.
        """
        return [
            f"{name}={database_url([self.container(node) if by_container else node for node in nodes])}"
            for name, nodes in self.databases.items()
        ]

    def container(self, service: str) -> str:
        """The name of a service's container, which is unique among all stages."""
        return f"{self.project}-{service}-1"


@dataclass(frozen=True)
class Box:
    """A machine: CPU in cores, memory in bytes."""

    cpu: float
    memory: int
    count: int = 1
    """How many of them there are."""
    period: int = DEFAULT_PERIOD
    """In µs, of which it has its part."""
    cpuset: str = ""
    """The cores that it may use, as Docker writes them; empty for all of them."""

    @property
    def quota(self) -> int:
        """What it may use of each period, in µs."""
        return round(self.cpu * self.period)


def config(command: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What Compose makes of a stage's files and settings, those in ``env`` before all others.

    Raises Problem where it cannot read them.
    """
    said = answer([*command, "config", "--format", "json"], env)
    if said.returncode != 0:
        raise Problem(
            f"Compose cannot read the stage:\n{said.stderr.strip()}",
            "Settings come from .env and the environment; secrets/ from: make setup",
        )
    read: dict[str, Any] = json.loads(said.stdout)
    return read


def read(number: int) -> Topology:
    """The topology of a stage. Raises Problem where Compose cannot read the file or a port is not one."""
    return of(number, config(compose(number)))


def of(number: int, config: Mapping[str, Any]) -> Topology:
    """The topology of a stage by what Compose says of it."""
    services: dict[str, dict[str, Any]] = config["services"]
    labelled = {name: service.get("labels", {}) for name, service in services.items()}
    edge = next(name for name, labels in labelled.items() if "stage.edge" in labels)
    return Topology(
        number=number,
        project=config["name"],
        boxes={name: _box(services[name]) for name, labels in labelled.items() if labels.get("stage.box") == "true"},
        edge=edge,
        edge_port=int(labelled[edge]["stage.edge"]),
        published=_published(services[edge], labelled[edge]["stage.edge"]),
        databases=databases({name: labels[DATABASE] for name, labels in labelled.items() if DATABASE in labels}),
        media=next(
            ((name, labels["stage.media"]) for name, labels in labelled.items() if "stage.media" in labels), None
        ),
        caches=tuple(name for name, labels in labelled.items() if labels.get("stage.cache") == "true"),
        pages={
            name: _published(services[name], labels["stage.page"])
            for name, labels in labelled.items()
            if "stage.page" in labels
        },
        subnets={
            network["name"]: subnet
            for name, network in config.get("networks", {}).items()
            if (subnet := addresses(config, name).get("subnet"))
        },
        balancer=next((name for name, labels in labelled.items() if labels.get("stage.nginx") == "lb"), None),
        apps=tuple(sorted((name for name, labels in labelled.items() if "stage.upstream" in labels), key=_in_order)),
        worker=next((name for name, labels in labelled.items() if labels.get("stage.worker") == "true"), None),
        sync=config.get("x-sync", ""),
    )


def databases(labelled: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The services of each database by the labels of those that have one, the directory's first."""
    found: dict[str, tuple[str, ...]] = {DIRECTORY: ()} if DIRECTORY in labelled.values() else {}
    for service, name in sorted(labelled.items()):
        found[name] = (*found.get(name, ()), service)
    return found


def database_url(hosts: Sequence[str]) -> str:
    """Where a database's primary is found; the password comes by PGPASSWORD."""
    if len(hosts) == 1:
        return f"postgresql://conduit@{hosts[0]}:5432/conduit"
    return f"postgresql://conduit@{','.join(hosts)}/conduit?target_session_attrs=read-write"


def addresses(config: Mapping[str, Any], network_name: str) -> dict[str, str]:
    """The `subnet`, `gateway` and `ip_range` of one of a stage's networks, where its file says them."""
    network = (config.get("networks") or {}).get(network_name) or {}
    said: list[dict[str, str]] = (network.get("ipam") or {}).get("config") or [{}]
    return said[0]


def _in_order(name: str) -> tuple[int, str]:
    """app2 before app10."""
    return len(name), name


def _published(service: dict[str, Any], inside: str) -> int:
    """The port of this machine at which a service's port is reached."""
    return next(int(port["published"]) for port in service["ports"] if int(port["target"]) == int(inside))


def _box(service: dict[str, Any]) -> Box:
    count = int(service.get("deploy", {}).get("replicas", 1))
    period, cpuset = int(service["cpu_period"]), str(service.get("cpuset", ""))
    return Box(cpus(service), int(service["mem_limit"]), count, period, cpuset)


def cpus(service: Mapping[str, Any]) -> float:
    """CPUs that a box may use."""
    return int(service["cpu_quota"]) / int(service["cpu_period"])
