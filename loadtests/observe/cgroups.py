"""The control groups of boxes, as the machine's kernel tells them, whichever of its two versions it has."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadtests.observe.readings import Reading


class GoneError(Exception):
    """A box is not there (any more)."""


class Group(Protocol):
    """One box's group."""

    def read(self) -> Reading:
        """Its counters, now. Raises OSError when it is gone."""

    def pids(self) -> list[int]:
        """Its processes."""


@dataclass(frozen=True)
class Version1:
    """A group in three trees. Its CPU time is in ns, and so is the time that its quota held it back."""

    cpu: Path
    cpuacct: Path
    memory: Path

    def read(self) -> Reading:
        """As Group has it."""
        used, quota = int((self.cpuacct / "cpuacct.usage").read_text()), _named(self.cpu / "cpu.stat")
        at = time.monotonic()
        held = int((self.memory / "memory.usage_in_bytes").read_text())
        cache = _named(self.memory / "memory.stat").get("total_inactive_file", 0)
        return Reading(
            at=at,
            cpu_ns=used,
            throttled_ns=quota.get("throttled_time", 0),
            memory=max(0, held - cache),
            periods=quota.get("nr_periods", 0),
            throttled_periods=quota.get("nr_throttled", 0),
        )

    def pids(self) -> list[int]:
        """As Group has it."""
        return [int(word) for word in (self.cpuacct / "cgroup.procs").read_text().split()]


@dataclass(frozen=True)
class Version2:
    """A group in the one tree. Its times are in us."""

    folder: Path

    def read(self) -> Reading:
        """As Group has it."""
        stat = _named(self.folder / "cpu.stat")
        at = time.monotonic()
        held = int((self.folder / "memory.current").read_text())
        cache = _named(self.folder / "memory.stat").get("inactive_file", 0)
        return Reading(
            at=at,
            cpu_ns=stat["usage_usec"] * 1000,
            throttled_ns=stat.get("throttled_usec", 0) * 1000,
            memory=max(0, held - cache),
            periods=stat.get("nr_periods", 0),
            throttled_periods=stat.get("nr_throttled", 0),
        )

    def pids(self) -> list[int]:
        """As Group has it."""
        return [int(word) for word in (self.folder / "cgroup.procs").read_text().split()]


def find(pid: int, proc: Path, tree: Path) -> Group:
    """The group of a process, by the machine's ``proc`` and its ``tree`` of groups. Raises GoneError."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise GoneError(f"process {pid} is not seen ({error.strerror})") from error
    # cgroups(7): "hierarchy:controllers:path", and 0::path for version 2, which may be there beside version 1.
    paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
    if (tree / "cgroup.controllers").exists():
        return Version2(_folder(tree, paths.get("", "")))
    try:
        return Version1(**{name: _folder(tree / name, paths[name]) for name in ("cpu", "cpuacct", "memory")})
    except KeyError as error:
        raise GoneError(f"process {pid} has no control group for {error}") from error


def _folder(tree: Path, path: str) -> Path:
    """Where a group is in a tree that may begin further down, as where Docker runs in a container itself."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for dropped in range(len(parts)):
        if (folder := tree.joinpath(*parts[dropped:])).is_dir():
            return folder
    # The root's group is all of the machine, and no box.
    raise GoneError(f"there is no control group {path}")


def _named(file: Path) -> dict[str, int]:
    """A file of lines of a name and a number."""
    return {name: int(value) for name, value in (line.split()[:2] for line in file.read_text().splitlines())}
