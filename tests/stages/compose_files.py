"""The compose files as they are written, for the tests that hold them against each other."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.running import ROOT

FILES = sorted(ROOT.glob("docker-compose.stage*.yml"))
EXERCISES = sorted(ROOT.glob("infra/exercises/*.yml"))
TOOLS = ROOT / "infra/tools.compose.yml"
TOP_LEVEL = ["name", "include", "x-sync", "x-image", "x-box", "services", "networks", "volumes"]
# A shard's: no name says which one is the primary.
NODES = ("shard1a", "shard1b", "shard2a", "shard2b")


def load(path: Path) -> dict[str, Any]:
    """A file as Compose reads it, each service with what it `extends`."""
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    services = parsed["services"]
    parsed["services"] = {
        name: _extended(services[one["extends"]], one) if "extends" in one else one for name, one in services.items()
    }
    return parsed


def _extended(first: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """As Compose does it: mappings are merged, and of two volumes at one place the service's own is taken."""
    merged = {key: first[key] | value for key, value in own.items() if isinstance(value, dict) and key in first}
    return first | {key: value for key, value in own.items() if key != "extends"} | merged


def boxes(path: Path) -> dict[str, dict[str, Any]]:
    return {name: one for name, one in load(path)["services"].items() if one["labels"].get("stage.box") == "true"}


def networks_of(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What a service's file says of it on each of its networks."""
    said = service.get("networks", ["default"])
    return said if isinstance(said, dict) else {name: {} for name in said}


class Mount(NamedTuple):
    """One of a service's volumes, where no setting says anything; ``mode`` is "" where the file gives none."""

    source: str
    target: str
    mode: str = ""


def mounts_of(service: dict[str, Any]) -> list[Mount]:
    volumes = service.get("volumes", [])
    return [Mount(*re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", volume).split(":")) for volume in volumes]


def mounts(path: Path) -> list[Mount]:
    return [mount for service in load(path)["services"].values() for mount in mounts_of(service)]


def keys_as_written(path: Path) -> dict[str, list[str]]:
    """The keys of each service in the order of the file, merges not yet resolved."""
    node = yaml.compose(path.read_text())
    assert isinstance(node, yaml.MappingNode)
    services = next(value for key, value in node.value if key.value == "services")
    return {name.value: [key.value for key, _ in service.value] for name, service in services.value}


each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_pair = pytest.mark.parametrize(("before", "after"), list(pairwise(FILES)), ids=lambda path: path.name)
