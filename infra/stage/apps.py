"""More app boxes than a stage's file has, for as long as somebody wants them: `make stage3 up APPS=4`.

They are in a compose file beside the stage's, which every later command reads as well, until the next `up` without
APPS. Each is the file's first app again, at the next address; the balancer waits for it, and has its configuration
mounted from beside that file, so that the committed one stays as the stage's own file says.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from infra.nginx.render import MOUNTED_AT
from infra.stage.problems import Problem
from infra.stage.stages import compose_file, more_boxes

# From here on the network gives addresses out by itself.
FIRST_DYNAMIC = 128


@contextlib.contextmanager
def chosen(number: int, wanted: str | None) -> Iterator[None]:
    """The stage has as many app boxes as ``wanted`` says from now on; "" is as many as its file has, None as before.

    Raises Problem where it cannot have that many. As before, too, where what is done within fails.
    """
    file = more_boxes(number)
    before = file.read_text() if file.exists() else ""
    if wanted is not None:
        _write(number, more(number, wanted) if wanted else "")
    try:
        yield
    except BaseException:
        _write(number, before)
        raise


def more(number: int, wanted: str) -> str:
    """The compose file of the boxes that a stage's own file lacks; empty where it lacks none."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(compose_file(number).read_text())["services"]
    apps = [name for name, service in services.items() if "stage.upstream" in service["labels"]]
    balancer = next((name for name, one in services.items() if one["labels"].get("stage.nginx") == "lb"), None)
    if balancer is None:
        raise Problem(
            f"Stage {number} has no balancer, so it has one app.",
            "APPS= is for stages from 3 on: make stage3 up APPS=4",
            status=2,
        )
    addresses = {
        name: service["networks"]["default"]["ipv4_address"]
        for name, service in services.items()
        if isinstance(service.get("networks"), dict)
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
        return ""
    first = services[apps[0]]
    added: dict[str, Any] = {
        name: first | {"networks": {"default": {"ipv4_address": f"{network}.{int(last) + place}"}}}
        for place, name in enumerate(new, start=1)
    }
    mounted = f"./{more_boxes(number).parent.name}/stage{number}.lb.conf:{MOUNTED_AT}:ro"
    added[balancer] = {"volumes": [mounted], "depends_on": {name: {"condition": "service_healthy"} for name in new}}
    return f"# Made by: make stage{number} up APPS={wanted}\n{json.dumps({'services': added}, indent=2)}\n"


def _write(number: int, text: str) -> None:
    file = more_boxes(number)
    if text:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    else:
        file.unlink(missing_ok=True)
