"""A stage's life: up, down, status, logs."""

import json
import sys
import textwrap
from collections.abc import Collection
from typing import Any

from infra.stage import apps, checks, leftovers, nginx, replica_reads, shards, synchronous, topology
from infra.stage.problems import Problem
from infra.stage.shell import answer, compose, compose_rows, run
from infra.stage.topology import Topology

# On the smallest boxes the first start makes the database and migrates it within 30 s; the rest is for a busy machine.
HEALTHY_WITHIN = 180
LAST_LINES = 15


def up(number: int, apps_wanted: str | None = None) -> None:
    """Build, start, wait until every box is healthy, print where it answers. Raises Problem with what failed.

    ``apps_wanted`` is how many app boxes there are to be, "" for as many as the file has; None leaves them as they are.
    """
    with apps.chosen(number, apps_wanted):
        stage = checks.before_up(number)
        configurations = nginx.configure(number)
    boxes = ", ".join(stage.boxes)
    print(f"Stage {number}: building the images of {boxes}", flush=True)
    if run(compose(number, "build")) != 0:
        raise Problem(
            "The images could not be built; the step that failed is above.",
            "If pip could not verify a certificate, name your CA bundle: CA_BUNDLE=/path/to/bundle.pem make setup",
        )
    print(f"Stage {number}: starting {boxes}, and waiting until healthy", flush=True)
    leftovers.put_right(stage)
    nginx.put_away_stale(stage, configurations)
    ran_before = {row["ID"] for row in compose_rows(number, "ps")}
    waiting = ["--wait", "--wait-timeout", str(HEALTHY_WITHIN)]
    start = compose(number, "up", "--detach", "--remove-orphans", *waiting)
    started = run(start)
    ill = _ill(stage)
    # An app fails its health checks while its database is replaced, and may be unhealthy by the end of that. Compose
    # then gives up on it, even where it has recovered since.
    if started != 0 and (leftovers.stop_unhealthy(stage, ran_before) or not ill):
        print(f"Stage {number}: starting once more", flush=True)
        started = run(start)
        ill = _ill(stage)
    if started != 0 or ill or not _boxes(stage):
        raise _why_not_up(stage, ill)
    leftovers.give_back_sizes(stage)
    nginx.follow(stage, configurations)
    synchronous.follow(stage)
    beside = "".join(f"  {service:<8} {url}\n" for service, url in stage.page_urls.items())
    print(
        f"\nStage {number} is up.\n"
        f"  site     {stage.url}/\n"
        f"  API      {stage.url}/api/articles\n"
        f"  health   {stage.url}/health\n"
        f"{beside}"
        f"\nNext: make stage{number} seed, then make stage{number} load or make stage{number} ceiling"
    )


def down(number: int, volumes: bool) -> None:
    """Stop and remove the containers, the tools' too; with ``volumes`` the data as well."""
    extra = ["--volumes"] if volumes else []
    if run(compose(number, "--profile", "tools", "down", "--remove-orphans", *extra)) != 0:
        raise Problem(f"Stage {number} could not be stopped; Docker's output is above.", "Check with: make doctor")
    kept = "its data is removed" if volumes else f"its data stays; to remove it: make stage{number} down VOLUMES=1"
    print(f"Stage {number} is down; {kept}")


def require_up(stage: Topology) -> None:
    """Raises Problem when a box is missing or not healthy."""
    rows = _boxes(stage)
    for box in stage.boxes:
        of_it = [row for row in rows if row["Service"] == box]
        if not of_it or any(row["State"] != "running" for row in of_it):
            raise Problem(f"Stage {stage.number} is not up.", f"Start it with: make stage{stage.number} up")
        for row in of_it:
            if not _is_well(row):
                raise Problem(
                    f"Stage {stage.number} is not healthy: {_name(stage, row)} is {_health(row)}.",
                    f"What it says: make stage{stage.number} logs. To start it again: make stage{stage.number} up",
                )


def is_up(stage: Topology) -> bool:
    """Whether every box runs and is healthy."""
    try:
        require_up(stage)
    except Problem:
        return False
    return True


def status(number: int) -> None:
    """A table of the boxes: health, CPU as a share of the box's quota, memory of the box's limit."""
    stage = topology.read(number)
    rows = _boxes(stage)
    if not rows:
        print(f"Stage {number} is down. Start it with: make stage{number} up")
        return
    meters = _meters([row["Name"] for row in rows])
    print(f"{'box':<10} {'state':<12} {'health':<12} {'CPU of its quota':>16}  {'memory':>24}")
    for name, box in stage.boxes.items():
        of_it = sorted((row for row in rows if row["Service"] == name), key=lambda row: str(row["Name"]))
        if not of_it:
            print(f"{name:<10} {'missing':<12}")
        for row in of_it:
            meter = meters.get(row["Name"], {})
            cpu = float(meter.get("CPUPerc", "0%").rstrip("%") or 0) / box.cpu
            shown = f"{_name(stage, row):<10} {row['State']:<12} {_health(row):<12}"
            print(f"{shown} {cpu:>14.0f} %  {meter.get('MemUsage', ''):>24}")
    for line in ("", *shards.told(stage), *replica_reads.told(stage)) if stage.is_sharded else ():
        print(line)
    print(f"\n{stage.url}")
    for service, url in stage.page_urls.items():
        print(f"{url}  {service}")


def logs(number: int) -> None:
    """Follow the logs of all boxes until Ctrl-C."""
    stage = topology.read(number)
    if not _boxes(stage):
        raise Problem(f"Stage {number} is down, so there are no logs.", f"Start it with: make stage{number} up")
    run(compose(number, "logs", "--follow", "--tail", "100"))


def _name(stage: Topology, row: dict[str, Any]) -> str:
    """What a box is called: after its service, and with a number from the second on."""
    return str(row["Name"]).removeprefix(f"{stage.project}-").removesuffix("-1")


def _boxes(stage: Topology) -> list[dict[str, Any]]:
    return _services(stage, stage.boxes)


def _ill(stage: Topology) -> list[dict[str, Any]]:
    """The boxes, and services beside them, that do not run or are not healthy."""
    return [row for row in _services(stage, [*stage.boxes, *stage.pages]) if not _is_well(row)]


def _services(stage: Topology, names: Collection[str]) -> list[dict[str, Any]]:
    return [row for row in compose_rows(stage.number, "ps", "--all") if row["Service"] in names]


def _health(row: dict[str, Any]) -> str:
    return str(row.get("Health") or row["State"])


def _is_well(row: dict[str, Any]) -> bool:
    return row["State"] == "running" and row.get("Health") in ("healthy", "")


def _meters(containers: list[str]) -> dict[str, dict[str, Any]]:
    said = answer(["docker", "stats", "--no-stream", "--format", "{{json .}}", *containers])
    meters = [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]
    return {meter["Name"]: meter for meter in meters}


def _why_not_up(stage: Topology, ill: list[dict[str, Any]]) -> Problem:
    """Which box (or service beside the boxes) is not well, its last words, and what to do about it."""
    number = stage.number
    if not ill:
        return Problem(f"Stage {number} did not start; Docker's output is above.", "Check with: make doctor")
    # One that was never started waits for one that is ill.
    row = min(ill, key=lambda row: row["State"] == "created")
    inspected = answer(["docker", "inspect", "-f", "{{json .State}}", row["Name"]])
    state: dict[str, Any] = json.loads(inspected.stdout or "{}")
    said = answer(["docker", "logs", "--tail", str(LAST_LINES), row["Name"]])
    words = (said.stdout + said.stderr).strip() or "(it said nothing)"
    print(f"\nThe last lines of {row['Service']}:\n{textwrap.indent(words, '  ')}\n", file=sys.stderr)
    checked = (state.get("Health") or {}).get("Log") or []
    if checked and checked[-1].get("Output", "").strip():
        print(f"Its last health check said: {checked[-1]['Output'].strip()}\n", file=sys.stderr)
    what = f"The box {row['Service']}" if row["Service"] in stage.boxes else f"The service {row['Service']}"
    if state.get("OOMKilled") and row["Service"] in stage.boxes:
        return Problem(
            f"{what} ran out of memory.",
            f"Give boxes more: BOX_MEMORY=384m in .env, then make stage{number} up",
        )
    return Problem(
        f"{what} did not become healthy: it is {_health(row)}"
        + (f", exit code {state.get('ExitCode')}." if row["State"] != "running" else "."),
        f"All its logs: make stage{number} logs. Try again: make stage{number} up."
        f" From nothing, losing the stage's data: make stage{number} down VOLUMES=1",
    )
