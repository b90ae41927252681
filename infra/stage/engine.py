"""Is there a Docker that can be used? Absent, stopped, forbidden and too old are four different answers."""

import json
import re
import sys
from dataclasses import dataclass

from infra.stage.problems import Problem
from infra.stage.shell import answer

# Both as in infra/setup. The engine: that of Debian 11.
ENGINE_NEEDED = "20.10"
# The stage files use include, which came with 2.20; what they include sees the variables given to it from 2.20.3 on.
COMPOSE_NEEDED = "2.20.3"


@dataclass(frozen=True)
class Engine:
    """What the engine says of itself. ``memory`` in bytes: of the machine, or of the virtual one it runs in."""

    version: str
    cores: int
    memory: int
    cgroups: str
    limits_cpu: bool
    pins_cpu: bool
    """Whether a container can be kept on one core."""
    root: str
    """Where its images and volumes lie, on the engine's machine."""


def usable() -> Engine:
    """The engine, beside a Compose that reads the stage files. Raises Problem when either cannot be used."""
    engine = look()
    compose_version()
    return engine


def look() -> Engine:
    """The engine. Raises Problem when it is absent, stopped, not this user's to use, or too old."""
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
    version = str(info["ServerVersion"])
    # A build of one's own may have a name instead of a version; only an old version is known to be old.
    if _parts(version) and not _is_at_least(version, ENGINE_NEEDED):
        raise Problem(f"Docker Engine {version} is too old; {ENGINE_NEEDED} or newer is needed.", update_hint())
    return Engine(
        version=version,
        cores=int(info.get("NCPU", 0)),
        memory=int(info.get("MemTotal", 0)),
        cgroups=str(info.get("CgroupVersion") or "1"),
        limits_cpu=bool(info.get("CpuCfsQuota", True)),
        pins_cpu=bool(info.get("CPUSet", True)),
        root=info.get("DockerRootDir", ""),
    )


def compose_version() -> str:
    """Compose's version. Raises Problem when it is absent or too old."""
    said = answer(["docker", "compose", "version", "--short"])
    found = said.stdout.strip().lstrip("v")
    needed = f"{COMPOSE_NEEDED} or newer is needed"
    remedy = f"Install it with: {setup_command()}"
    if said.returncode != 0 or not found:
        raise Problem(f"Docker Compose v2 is not installed; {needed}.", remedy)
    if not _is_at_least(found, COMPOSE_NEEDED):
        raise Problem(f"Docker Compose {found} is too old; {needed}.", remedy)
    return found


def setup_command() -> str:
    """What installs or starts Docker here."""
    return "Docker Desktop, OrbStack or Colima" if sys.platform == "darwin" else "make setup"


def update_hint() -> str:
    """What replaces an engine that is too old. Not `make setup`: that leaves an engine that answers as it is."""
    if sys.platform == "darwin":
        return "Update Docker Desktop, OrbStack or Colima."
    return "Update it with your system's packages, for example: sudo apt-get update && sudo apt-get install docker.io"


def _is_at_least(version: str, needed: str) -> bool:
    found = _parts(version)
    return bool(found) and found >= _parts(needed)


def _parts(version: str) -> tuple[int, ...]:
    """The three numbers a version begins with, a missing third one as 0; none where it is no version."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else ()
