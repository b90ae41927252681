"""Who of a stage's containers can open a connection to which port of which other: as it should be, and as it is."""

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.running import Stage, run
from tests.stages.compose_files import NODES

Found = TypeVar("Found")

METRICS = 9100
# Ports that other containers may try. What listens on a loopback address only is not among them.
LISTENS = {
    "box": {5432, 8000, METRICS},
    "app": {8000, METRICS},
    "app1": {8000, METRICS},
    "app2": {8000, METRICS},
    "lb": {8000},
    "cdn": {8000, 8081},
    "media": {8080},
    "cache": {6379, 6380},
    "broker": {6379},
    "db": {5432},
    "directory": {5432},
    **{node: {5432, 8008} for node in NODES},
    "etcd": {2379},
    "worker": {METRICS},
    "mail": {2525, 8025},
}
# Who meets whom, by the stage. Readers, hence the load generator, meet the first.
MEET = {
    1: [{"box", "mail"}],
    2: [{"app", "db"}, {"app", "mail"}],
    3: [{"lb", "app1", "app2", "media"}, {"app1", "app2", "cache", "db"}, {"app1", "app2", "mail"}],
    4: [
        {"cdn", "lb", "app1", "app2", "worker", "media"},
        {"app1", "app2", "worker", "cache", "broker", "db"},
        {"worker", "mail"},
    ],
    5: [
        {"cdn", "lb", "app1", "app2", "worker", "media"},
        {"app1", "app2", "worker", "cache", "broker", "directory", *NODES},
        {*NODES, "etcd"},
        {"worker", "mail"},
    ],
}

# It has Python, and is there at every stage.
IMAGE = "conduit/mail"
# A container's listening sockets, IPv4 and IPv6, as the kernel tells them.
_SOCKETS = "cat /proc/net/tcp /proc/net/tcp6"
_LISTENING = re.compile(r"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F:]+ 0A ", re.MULTILINE)
_LOOPBACK = re.compile(r"^(?:[0-9A-F]{6}7F|0{24}01000000|0000000000000000FFFF0000[0-9A-F]{6}7F)$")
_REACHED = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(target):
    try:
        socket.create_connection(target.rsplit(":", 1), timeout=2).close()
    except OSError:
        return False
    return True

targets = sys.argv[1:]
with ThreadPoolExecutor(200) as threads:
    print(*[target for target, found in zip(targets, threads.map(reached, targets)) if found])
"""


def expected(number: int) -> dict[str, set[str]]:
    """For each container the others' ports that it should reach, as "db:5432"."""
    return {
        one: {
            f"{other}:{port}"
            for group in MEET[number]
            if one in group
            for other in group - {one}
            for port in LISTENS[other]
        }
        for one in set().union(*MEET[number])
    }


def listening(stage: Stage, names: Iterable[str]) -> dict[str, set[int]]:
    """The ports of each that listen on more than a loopback address."""

    def ports(name: str) -> set[int]:
        sockets = stage.compose("exec", "-T", name, "sh", "-c", _SOCKETS)
        return {int(port, 16) for address, port in _LISTENING.findall(sockets) if not _LOOPBACK.match(address)}

    return _of_each(names, ports)


def reached(stage: Stage, ports: Mapping[str, set[int]]) -> dict[str, set[str]]:
    """What each does reach, at any of the other's addresses."""
    every = sorted(set().union(*ports.values()))
    addresses = _of_each(ports, lambda name: _addresses(stage, name))

    def of(one: str) -> set[str]:
        targets = {
            f"{address}:{port}": f"{other}:{port}"
            for other in ports.keys() - {one}
            for address in addresses[other]
            for port in every
        }
        # In its network and not in the container: not every box has Python.
        within = ["docker", "run", "--rm", "--network", f"container:{stage.container(one)}", IMAGE]
        said = run([*within, "python", "-c", _REACHED, *targets], stage.folder)
        return {targets[target] for target in said.split()}

    return _of_each(ports, of)


def _of_each(names: Iterable[str], find: Callable[[str], Found]) -> dict[str, Found]:
    """By name. All at once, for most of it is waiting for who does not answer."""
    every = [*names]
    with ThreadPoolExecutor(len(every)) as threads:
        return dict(zip(every, threads.map(find, every), strict=True))


def _addresses(stage: Stage, name: str) -> list[str]:
    of_all = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return run(["docker", "inspect", "-f", of_all, stage.container(name)], stage.folder).split()
