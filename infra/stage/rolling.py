"""`make stage3 rolling-restart`: the apps restarted one after the other behind the balancer, and nobody sees it."""

import re
import time

from infra.stage import lifecycle, nginx, topology
from infra.stage.problems import Problem
from infra.stage.replica_reads import METRICS
from infra.stage.shell import answer
from infra.stage.topology import Topology
from infra.stage.waiting import until

# An upload that waits for its turn, or mail to many. What is under way then still, the app finishes while it stops.
DRAINED_WITHIN = 60
STOPS_WITHIN = 30
READY_WITHIN = 60
# Docker hears within seconds that a box is well which was just started; until then it is "starting".
CHECKED_WITHIN = 10
# Between the balancer's choice of a box and the request's arrival there.
CHOSEN_ALREADY = 0.5
_IN_FLIGHT = re.compile(r"^conduit_requests_in_flight ([0-9.e+]+)$", re.MULTILINE)


def restart(number: int) -> None:
    """Restart a stage's apps, each after nothing is under way in it. Raises Problem at the first that does not return,
    and leaves the others alone.
    """
    stage = topology.read(number)
    if stage.balancer is None:
        raise Problem(
            f"Stage {number} has no balancer, so nothing could take over from its app.",
            "Stages from 3 on have one: make stage3 rolling-restart",
        )
    until(lambda: lifecycle.is_up(stage), CHECKED_WITHIN)
    lifecycle.require_up(stage)
    nginx.put_back(stage, stage.apps)  # what an interrupted restart left out
    began = time.monotonic()
    for place, app in enumerate(stage.apps, start=1):
        _restart(stage, app, f"{place} of {len(stage.apps)}  {app}:")
    until(lambda: lifecycle.is_up(stage), CHECKED_WITHIN)
    print(f"All {len(stage.apps)} apps of stage {number} were restarted, in {time.monotonic() - began:.0f} s")


def _restart(stage: Topology, app: str, label: str) -> None:
    try:
        nginx.take_out(stage, app)
        print(label, "gets nothing new", flush=True)
        time.sleep(CHOSEN_ALREADY)
        if not until(lambda: _in_flight(stage, app) == 0, DRAINED_WITHIN):
            print(label, f"still busy after {DRAINED_WITHIN} s; it finishes what it can while it stops", flush=True)
        print(label, "restarting", flush=True)
        began = time.monotonic()
        said = answer(["docker", "restart", "--time", str(STOPS_WITHIN), stage.container(app)])
        if said.returncode:
            raise Problem(f"{app} could not be restarted: {said.stderr.strip()}", "Check with: make doctor")
        if not until(lambda: _is_ready(stage, app), READY_WITHIN):
            raise Problem(
                f"{app} was restarted and is not ready after {READY_WITHIN} s; the others answer.",
                f"What it says: make stage{stage.number} logs",
            )
    finally:
        # One that is not ready refuses, and then gets nothing by itself.
        nginx.put_back(stage, [app])
    print(label, f"answers again, {time.monotonic() - began:.1f} s later", flush=True)


def _in_flight(stage: Topology, app: str) -> float | None:
    """Requests under way in an app; None where it does not say, as one that is too busy for it."""
    said = nginx.inside(stage, app, *nginx.CURL, METRICS)
    found = _IN_FLIGHT.search(said.stdout)
    return float(found.group(1)) if found else None


def _is_ready(stage: Topology, app: str) -> bool:
    asked = nginx.inside(stage, app, "curl", "-fsS", "-m", "3", "-o", "/dev/null", "http://127.0.0.1:8000/ready")
    return asked.returncode == 0
