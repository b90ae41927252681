"""What an interrupted command has left, put right before the next one starts: Compose would trip over all of it."""

import json
import re
from collections.abc import Container
from typing import Any

from infra.stage import engine
from infra.stage.problems import Problem
from infra.stage.shell import answer, compose, compose_rows, run
from infra.stage.topology import Topology

# How far back a stop can have begun that still goes on: longer than the boxes' stop_grace_period.
STOPS_SINCE = "60s"
# What `docker stop` sends to the boxes: the STOPSIGNALs of infra/images/Dockerfile, by their numbers.
STOP_SIGNALS = {"2", "3", "15"}
_BOXES = ["--filter", "label=stage.box=true", "--filter", "label=com.docker.compose.oneoff=False"]


def put_right(stage: Topology) -> None:
    """Half replaced containers, stops under way, surplus boxes, and those that are ill from before."""
    _remove_half_replaced(stage)
    _await_stops(stage)
    _remove_surplus(stage)
    stop_unhealthy(stage)


def _remove_surplus(stage: Topology) -> None:
    """Remove the workers with the highest numbers. When Compose replaces all of them, it may keep worker-2 and remove
    worker-1.
    """
    labels = ".Names", '.Label "com.docker.compose.service"', '.Label "com.docker.compose.container-number"'
    shown = "\t".join(f"{{{{{label}}}}}" for label in labels)
    kept = ["--filter", "label=com.docker.compose.oneoff=False"]
    said = answer(["docker", "ps", "--all", *_of(stage), *kept, "--format", shown]).stdout
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name, service, number in (line.split("\t") for line in said.splitlines()):
        numbered.setdefault(service, []).append((int(number), name))
    surplus = [
        name for service, box in stage.boxes.items() for _, name in sorted(numbered.get(service, ()))[box.count :]
    ]
    if surplus:
        print(f"Stage {stage.number}: stopping {', '.join(surplus)}", flush=True)
        answer(["docker", "stop", *surplus])
        answer(["docker", "rm", *surplus])


def stop_unhealthy(stage: Topology, among: Container[str] | None = None) -> bool:
    """Stop the unhealthy boxes, or only those whose container ids are in ``among``. Return whether there were any.

    A box that runs and is unhealthy, such as an app whose database was away, would end Compose's waiting at once.
    Started anew it has the time of a start to become healthy.
    """
    ill = {
        row["Service"]
        for row in compose_rows(stage.number, "ps")
        if row.get("Health") == "unhealthy" and (among is None or row["ID"] in among)
    }
    if ill:
        run(compose(stage.number, "stop", *sorted(ill)))
    return bool(ill)


def give_back_sizes(stage: Topology) -> None:
    """Give each box the CPU that the stage says. Compose has made anew those for which the stage says something else
    than it did; what others have instead is of a command that gave them another size for a while, and was killed.

    Raises Problem where Docker does not do it.
    """
    boxes = answer(["docker", "ps", "--quiet", *_of(stage), *_BOXES]).stdout.split()
    found: list[dict[str, Any]] = json.loads(answer(["docker", "inspect", *boxes]).stdout or "[]") if boxes else []
    every = f"0-{engine.look().cores - 1}"
    for container in found:
        name, host = container["Name"].lstrip("/"), container["HostConfig"]
        box = stage.boxes[container["Config"]["Labels"]["com.docker.compose.service"]]
        cores = box.cpuset or every
        if (host["CpuPeriod"], host["CpuQuota"], host["CpusetCpus"] or every) == (box.period, box.quota, cores):
            continue
        size = ["--cpu-period", str(box.period), "--cpu-quota", str(box.quota), "--cpuset-cpus", cores]
        done = answer(["docker", "update", *size, name])
        if done.returncode:
            raise Problem(
                f"{name} has not the {box.cpu:g} CPU that is set, and cannot be given them: {done.stderr.strip()}",
                f"Make it anew: make stage{stage.number} down, then make stage{stage.number} up; its data stays",
            )
        print(f"Stage {stage.number}: {name} has its {box.cpu:g} CPU again, which a killed command took", flush=True)


def _remove_half_replaced(stage: Topology) -> None:
    """While Compose replaces a container, the new one is called "<id>_<name>". Interrupted there, it would later
    stop at its own leftover.
    """
    names = answer(["docker", "ps", "--all", *_of(stage), "--format", "{{.Names}}"]).stdout.split()
    for name in names:
        if re.match(r"[0-9a-f]{12}_", name):
            answer(["docker", "rm", "--force", name])


def _await_stops(stage: Topology) -> None:
    """Docker goes on with a stop when the command that asked for it has ended. Until then the box counts as healthy,
    so Compose would leave it as it is.
    """
    if stopping := _stopping(stage):
        print(f"Stage {stage.number}: waiting until {', '.join(sorted(stopping))} has stopped", flush=True)
        answer(["docker", "wait", *stopping])


def _stopping(stage: Topology) -> list[str]:
    """The containers that were told to stop and have not ended yet."""
    told = ["docker", "events", "--since", STOPS_SINCE, "--until", "0s", *_of(stage), "--format", "{{json .}}"]
    kinds = [word for kind in ("kill", "die", "destroy") for word in ("--filter", f"event={kind}")]
    stopping: dict[str, bool] = {}
    for line in answer([*told, *kinds]).stdout.splitlines():
        event = json.loads(line)
        about = event["Actor"]["Attributes"]
        if event["Action"] != "kill":
            stopping[about["name"]] = False
        elif about.get("signal") in STOP_SIGNALS:
            stopping[about["name"]] = True
    return [name for name, under_way in stopping.items() if under_way]


def _of(stage: Topology) -> list[str]:
    return ["--filter", f"label=com.docker.compose.project={stage.project}"]
