"""What a machine must have: the checks of `make doctor`, of which `up` makes the critical ones first."""

import ipaddress
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.stage import box, engine, ports, synchronous, topology
from infra.stage.problems import Problem
from infra.stage.shell import answer
from infra.stage.stages import ROOT, available
from infra.stage.topology import Topology

GIB = 1 << 30
# The engine, the images' page cache and the tools' container, beside the boxes.
MEMORY_BESIDE_BOXES = 1 * GIB
# The largest stage so far, stage 5: fourteen boxes, the load generator beside them, and the rest.
MEMORY_WISHED = 6 * GIB
DISK_NEEDED = 2 * GIB
DISK_WISHED = 8 * GIB
CORES_WISHED = 2
BASE_IMAGE = "conduit/base:trixie"
SECRETS = (
    *(f"secrets/{name}.env" for name in ("database", "app", "redis", "media", "patroni")),
    "secrets/ca.pem",
)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report. ``remedy`` is empty when all is well; ``advice`` is none that must be taken."""

    what: str
    found: str
    remedy: str = ""
    advice: str = ""


def gib(size: int) -> str:
    """A size in bytes, in words."""
    return f"{size / GIB:.1f} GiB"


def doctor() -> Iterator[Finding]:
    """Every check, each with its remedy where something is missing."""
    try:
        docker = engine.look()
    except Problem as problem:
        wrong, _, remedy = str(problem).partition("\n")
        yield Finding("Docker", wrong, remedy)
        yield _disk("")
        return
    yield Finding("Docker", f"engine {docker.version}")
    yield _told("Compose", engine.compose_version)
    yield _told("Set-up", set_up)
    yield _memory(docker)
    yield _disk(docker.root)
    for number in available():
        yield _told(f"Stage {number}'s ports", lambda number=number: _ports_of(number))  # type: ignore[misc]
    yield _cores(docker)
    yield _box(docker)
    yield _cgroups(docker)


def before_up(number: int) -> Topology:
    """The critical checks, before anything is built. Raises Problem at the first that fails."""
    docker = engine.usable()
    set_up()
    stage = topology.read(number)
    synchronous.check(stage)
    memory(docker, stage)
    disk(docker.root)
    free_ports(stage)
    free_networks(stage)
    return stage


def set_up() -> str:
    """What `make setup` leaves behind: base image and secrets."""
    missing = [name for name in SECRETS if not (ROOT / name).exists()]
    if answer(["docker", "image", "inspect", BASE_IMAGE]).returncode != 0:
        missing.append(f"the image {BASE_IMAGE}")
    if missing:
        raise Problem(f"Missing: {', '.join(missing)}.", "Make it with: make setup")
    return "base image and secrets are there"


def memory(docker: engine.Engine, stage: Topology) -> None:
    """Raises Problem when the boxes together do not fit into the engine's memory."""
    boxes = sum(box.memory * box.count for box in stage.boxes.values())
    needed = boxes + MEMORY_BESIDE_BOXES
    if docker.memory < needed:
        raise Problem(
            f"Docker has {gib(docker.memory)} of memory; stage {stage.number} needs {gib(needed)}: "
            f"{gib(boxes)} for its boxes and {gib(MEMORY_BESIDE_BOXES)} beside them.",
            "Give the virtual machine of Docker Desktop or Colima more memory, or take a machine with more.",
        )


def disk(root: str) -> int:
    """Bytes free where Docker keeps its data, as far as this machine can see it. Raises Problem when nearly full."""
    place = Path(root) if root and os.path.isdir(root) else ROOT
    free = shutil.disk_usage(place).free
    if free < DISK_NEEDED:
        raise Problem(
            f"The disk is nearly full: {gib(free)} free at {place}, {gib(DISK_NEEDED)} needed.",
            "Free some space. What Docker can free: docker system df; then docker image prune, docker builder prune",
        )
    return free


def free_ports(stage: Topology) -> None:
    """Raises Problem when another program holds one of the stage's ports: the edge's, or that of a page beside it."""
    wanted = {f"STAGE{stage.number}_PORT": stage.published}
    wanted |= {f"STAGE{stage.number}_{service.upper()}_PORT": port for service, port in stage.pages.items()}
    for name, port in wanted.items():
        by = ports.holder(port, stage.project)
        if by:
            raise Problem(
                f"Port {port} is in use by {by}.",
                f"Take another one for this command: {name}={port + 1000} make stage{stage.number} up"
                f"\nor for good: {name} in .env",
            )


def free_networks(stage: Topology) -> None:
    """Raises Problem when the addresses that the stage wants for itself are none, or another network's."""
    there = _networks() if stage.subnets else {}
    for own, subnet in stage.subnets.items():
        name = f"STAGE{stage.number}_NETWORK"
        try:
            wanted = ipaddress.ip_network(subnet)
        except ValueError:
            raise Problem(
                f"{subnet} is not a network's address.",
                f"Give the first three parts of an address, for one call or in .env: {name}=10.93.{stage.number}",
                status=2,
            ) from None
        for network, subnets in there.items():
            if network == own or not any(wanted.overlaps(subnet) for subnet in subnets):
                continue
            if network.startswith(f"{stage.project}_"):
                raise Problem(
                    f"Stage {stage.number} is up as another version of its file has it.",
                    f"Take it down, which keeps its data: make stage{stage.number} down",
                )
            raise Problem(
                f"The addresses {wanted} are those of Docker's network {network} already.",
                f"Take others for this command: {name}=10.93.{stage.number} make stage{stage.number} up"
                f"\nor for good: {name} in .env",
            )


def _networks() -> dict[str, list[ipaddress.IPv4Network]]:
    """The addresses of each of Docker's networks."""
    ids = answer(["docker", "network", "ls", "--quiet"]).stdout.split()
    said = answer(["docker", "network", "inspect", *ids]).stdout if ids else ""
    try:
        found = json.loads(said or "[]")
    except ValueError:
        return {}
    return {
        network["Name"]: [
            ipaddress.IPv4Network(one["Subnet"])
            for one in (network.get("IPAM") or {}).get("Config") or []
            if ":" not in one["Subnet"]
        ]
        for network in found
    }


def _ports_of(number: int) -> str:
    stage = topology.read(number)
    free_ports(stage)
    return f"{', '.join(map(str, [stage.published, *stage.pages.values()]))} on 127.0.0.1"


def _told(what: str, check: Callable[[], str]) -> Finding:
    """A check that raises Problem, as a finding."""
    try:
        return Finding(what, check())
    except Problem as problem:
        wrong, _, remedy = str(problem).partition("\n")
        return Finding(what, wrong, remedy)


def _memory(docker: engine.Engine) -> Finding:
    if docker.memory < MEMORY_WISHED:
        remedy = f"{gib(MEMORY_WISHED)} are enough for every stage with its tools; give Docker more"
        return Finding("Memory", gib(docker.memory), remedy)
    return Finding("Memory", gib(docker.memory))


def _disk(root: str) -> Finding:
    try:
        free = disk(root)
    except Problem as problem:
        wrong, _, remedy = str(problem).partition("\n")
        return Finding("Disk", wrong, remedy)
    remedy = f"images, data and runs take up to {gib(DISK_WISHED)}; see: docker system df" if free < DISK_WISHED else ""
    return Finding("Disk", f"{gib(free)} free", remedy)


def _cores(docker: engine.Engine) -> Finding:
    if docker.cores < CORES_WISHED:
        remedy = "the load generator needs a core beside the boxes, or its limit is what a ceiling measures"
        return Finding("Cores", str(docker.cores), remedy)
    return Finding("Cores", str(docker.cores))


def _box(docker: engine.Engine) -> Finding:
    try:
        found, better = box.told(docker)
    except Problem as problem:
        wrong, _, remedy = str(problem).partition("\n")
        return Finding("Box", wrong, remedy)
    return Finding("Box", found, advice=better)


def _cgroups(docker: engine.Engine) -> Finding:
    if not docker.limits_cpu:
        remedy = "this kernel cannot limit CPU, so boxes have no size; take one with CONFIG_CFS_BANDWIDTH"
        return Finding("cgroups", f"version {docker.cgroups}, without CPU quotas", remedy)
    return Finding("cgroups", f"version {docker.cgroups}")
