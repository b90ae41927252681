"""Is there a Docker that can be used? Absent, stopped, forbidden and too old are four different answers."""

import json
import re
import sys
from dataclasses import dataclass

from infra.stage.problems import Problem
from infra.stage.shell import answer

COMPOSE_NEEDED = (2, 20)  # the stage files use include


@dataclass(frozen=True)
class Engine:
    """What the engine says of itself. ``memory`` in bytes: of the machine, or of the virtual one it runs in."""

    version: str
    cores: int
    memory: int
    cgroups: str
    limits_cpu: bool
    root: str
    """Where its images and volumes lie, on the engine's machine."""


def usable() -> Engine:
    """The engine, beside a Compose that reads the stage files. Raises Problem when either cannot be used."""
    engine = look()
    compose_version()
    return engine


def look() -> Engine:
    """The engine. Raises Problem when it is absent, stopped, or not this user's to use."""
    said = answer(["docker", "info", "--format", "{{json .}}"])
    if said.returncode == 127:
        raise Problem("Docker is not installed.", f"Install it with: {setup_command()}")
    try:
        info = json.loads(said.stdout)
    except json.JSONDecodeError:
        info = {}
    errors = " ".join([said.stderr, *(info.get("ServerErrors") or [])])
    if "permission denied" in errors:
        raise Problem(
            "The Docker engine runs, but this user may not use it.",
            'Join its group, then sign out and in again: sudo usermod -aG docker "$USER"',
        )
    if not info.get("ServerVersion"):
        raise Problem(f"The Docker engine does not answer.\n{errors.strip()}", f"Start it with: {setup_command()}")
    return Engine(
        version=info["ServerVersion"],
        cores=int(info.get("NCPU", 0)),
        memory=int(info.get("MemTotal", 0)),
        cgroups=str(info.get("CgroupVersion") or "1"),
        limits_cpu=bool(info.get("CpuCfsQuota", True)),
        root=info.get("DockerRootDir", ""),
    )


def compose_version() -> str:
    """Compose's version. Raises Problem when it is absent or too old."""
    said = answer(["docker", "compose", "version", "--short"])
    found = said.stdout.strip().lstrip("v")
    needed = ".".join(map(str, COMPOSE_NEEDED)) + " or newer is needed"
    remedy = f"Install it with: {setup_command()}"
    if said.returncode != 0 or not found:
        raise Problem(f"Docker Compose v2 is not installed; {needed}.", remedy)
    match = re.match(r"(\d+)\.(\d+)", found)
    if match is None or (int(match.group(1)), int(match.group(2))) < COMPOSE_NEEDED:
        raise Problem(f"Docker Compose {found} is too old; {needed}.", remedy)
    return found


def setup_command() -> str:
    """What installs or starts Docker here."""
    return "Docker Desktop, OrbStack or Colima" if sys.platform == "darwin" else "make setup"
