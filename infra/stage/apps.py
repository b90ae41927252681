"""More boxes of a kind than a stage's file has, for as long as somebody wants them: `make stage4 up APPS=4 WORKERS=3`.

They are in a compose file beside the stage's, which every later command reads as well, until the next `up` without
them. Each app is the file's first app again, at the next address, and the balancer waits for it. The database has no
more connections for many of them, so that each of many takes fewer. In that file, too, each box has its core where the
boxes are spread over the cores (BOX_CORES), which differ from machine to machine.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import yaml

from infra.nginx.render import NETWORK
from infra.stage import settings
from infra.stage.box import spread_over
from infra.stage.problems import Problem
from infra.stage.stages import compose_file, more_boxes

MOST_WORKERS = 20
# From here on the network gives addresses out by itself.
FIRST_DYNAMIC = 64
# A database's connections that are the boxes' (infra/postgres/postgresql.conf), and a shard's (infra/patroni), and how
# many of them a worker takes.
CONNECTIONS, SHARD_CONNECTIONS = 50, 42
WORKER_CONNECTIONS = 2
# An app's pool, and the smallest with which one slow statement does not hold up everybody. Two requests that do slow
# work themselves, as they do without workers, hold up so small an app.
POOL, LEAST_POOL = 10, 2
_TYPED = re.compile(r" (APPS|WORKERS)=(\d+)")


@contextlib.contextmanager
def chosen(number: int, wanted: str | None) -> Iterator[None]:
    """The stage has as many app boxes as ``wanted`` says from now on; "" is as many as its file has, None as before. So
    it is with workers, by WORKERS in the environment.

    Raises Problem where it cannot have that many. As before, too, where what is done within fails.
    """
    file = more_boxes(number)
    before = file.read_text() if file.exists() else ""
    workers = os.environ.get("WORKERS", "")
    if wanted is None:
        # What .env or the environment says of workers may have changed since, and with it what is left for the apps.
        typed = dict(_TYPED.findall(before.partition("\n")[0]))
        wanted, workers = typed.get("APPS", ""), typed.get("WORKERS", "")
    _write(number, more(number, wanted, workers))
    try:
        yield
    except BaseException:
        _write(number, before)
        raise


def more(number: int, apps: str, workers: str = "") -> str:
    """The compose file of the boxes that a stage's own file lacks; empty where it lacks none. "" wants no more."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(compose_file(number).read_text())["services"]
    added = _apps(number, services, apps) if apps else {}
    replicas = 0
    if workers or any("stage.worker" in service["labels"] for service in services.values()):
        wanted = workers or settings.said("WORKERS", "1")
        replicated = _workers(number, services, wanted)
        replicas = int(wanted)
        if workers:  # else Compose reads .env itself
            added |= replicated
    _smaller_pools(services, added, replicas)
    _one_core_each(services, added)
    if not added:
        return ""
    typed = [f"{name}={count}" for name, count in (("APPS", apps), ("WORKERS", workers)) if count]
    head = " ".join([f"# Made by: make stage{number} up", *typed])
    return f"{head}\n{json.dumps({'services': added}, indent=2)}\n"


def _workers(number: int, services: dict[str, dict[str, Any]], wanted: str) -> dict[str, Any]:
    names = [name for name, service in services.items() if "stage.worker" in service["labels"]]
    if not names:
        raise Problem(
            f"Stage {number} has no worker: its apps run the tasks.",
            "WORKERS= is for stages from 4 on: make stage4 up WORKERS=3",
            status=2,
        )
    if not re.fullmatch(r"[0-9]{1,4}", wanted, re.ASCII) or not 1 <= int(wanted) <= MOST_WORKERS:
        raise Problem(
            f"WORKERS={wanted}: stage {number} can have 1 to {MOST_WORKERS} workers.",
            f"Give another number, here or in .env: make stage{number} up WORKERS=3",
            status=2,
        )
    return {name: {"deploy": {"replicas": int(wanted)}} for name in names}


def _apps(number: int, services: dict[str, dict[str, Any]], wanted: str) -> dict[str, Any]:
    apps = [name for name, service in services.items() if "stage.upstream" in service["labels"]]
    balancer = next((name for name, one in services.items() if one["labels"].get("stage.nginx") == "lb"), None)
    if balancer is None:
        raise Problem(
            f"Stage {number} has no balancer, so it has one app.",
            "APPS= is for stages from 3 on: make stage3 up APPS=4",
            status=2,
        )
    addresses = {
        name: address
        for name, service in services.items()
        if isinstance(on := service.get("networks"), dict) and (address := (on.get(NETWORK) or {}).get("ipv4_address"))
    }
    network, _, last = addresses[apps[-1]].rpartition(".")
    taken = [int(address.rpartition(".")[2]) for address in addresses.values()]
    free = min(part for part in (*taken, FIRST_DYNAMIC) if part > int(last)) - int(last) - 1
    least, most = len(apps), len(apps) + free
    if not re.fullmatch(r"[0-9]{1,4}", wanted, re.ASCII) or not least <= int(wanted) <= most:
        raise Problem(
            f"APPS={wanted}: stage {number} can have {least} to {most} app boxes.",
            f"As many as its file has, {least}: make stage{number} up",
            status=2,
        )
    new = [f"app{place}" for place in range(least + 1, int(wanted) + 1)]
    if not new:
        return {}
    first = services[apps[0]]
    added: dict[str, Any] = {
        name: first | {"networks": first["networks"] | {NETWORK: {"ipv4_address": f"{network}.{int(last) + place}"}}}
        for place, name in enumerate(new, start=1)
    }
    added[balancer] = {"depends_on": {name: {"condition": "service_healthy"} for name in new}}
    return added


def _smaller_pools(services: dict[str, dict[str, Any]], added: dict[str, Any], workers: int) -> None:
    """Have each app in ``services`` and ``added`` take fewer connections where there are not ten for each.

    Raises Problem where there are too few even so.
    """
    apps = [name for name, service in (added | services).items() if "stage.upstream" in service["labels"]]
    if not apps:
        return  # one app, with nobody before it
    sharded = any("SHARDS" in services[name].get("environment", {}) for name in services)
    connections = SHARD_CONNECTIONS if sharded else CONNECTIONS
    pool = min(POOL, (connections - workers * WORKER_CONNECTIONS) // len(apps))
    if pool < LEAST_POOL:
        raise Problem(
            f"APPS={len(apps)} WORKERS={workers}: the database has no connections for so many.",
            f"{LEAST_POOL} for each app and {WORKER_CONNECTIONS} for each worker have to be {connections} or fewer.",
            status=2,
        )
    if pool < POOL:
        for name in apps:
            box = added.setdefault(name, {})
            # As many threads: one that waited for a connection would take the database for one that hangs.
            box["environment"] = box.get("environment", {}) | {"THREADS": str(pool), "POOL_SIZE": str(pool)}


def _one_core_each(services: dict[str, dict[str, Any]], added: dict[str, Any]) -> None:
    """Spread the boxes over as many cores as BOX_CORES says, in the order of the file; several workers share one."""
    cores = spread_over()
    names = [*services, *(name for name in added if name not in services)]  # every service of a stage's file is a box
    for place, name in enumerate(names if cores else []):
        added.setdefault(name, {})["cpuset"] = str(place % cores)


def _write(number: int, text: str) -> None:
    file = more_boxes(number)
    if text:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    else:
        file.unlink(missing_ok=True)
