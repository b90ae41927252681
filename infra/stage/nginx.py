"""A stage's NGINX boxes, kept to what its files say."""

import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from infra.nginx.render import MOUNTED_AT, Rendered, exercises, render
from infra.stage import topology
from infra.stage.problems import Problem
from infra.stage.shell import answer, compose
from infra.stage.stages import ROOT
from infra.stage.topology import Topology


def configure(number: int) -> list[Rendered]:
    """Bring the configuration of every NGINX of a stage up to date; what they are."""
    found = _rendered(number)
    for one in (*found, *exercises(number)):
        one.write()
    return found


def put_away_stale(stage: Topology, configurations: Sequence[Rendered]) -> None:
    """Remove a running NGINX that sees another file than the stage's: one that was replaced (git does so) instead of
    written to stays mounted as it was.
    """
    for one in configurations:
        seen = inside(stage, one.service, "cat", MOUNTED_AT)
        if seen.returncode == 0 and seen.stdout != one.text:
            answer(["docker", "rm", "--force", stage.container(one.service)])


def follow(stage: Topology, configurations: Sequence[Rendered]) -> None:
    """Let a running NGINX read a file that is younger than it is, and let the balancer ask all apps.

    Raises Problem if NGINX rejects the file.
    """
    put_back(stage, stage.apps)
    for one in configurations:
        if _started(stage.container(one.service)) > one.file.stat().st_mtime:
            continue
        said = inside(stage, one.service, "nginx", "-e", "stderr", "-s", "reload")
        if said.returncode:
            raise Problem(
                f"The box {one.service} rejects {one.file.relative_to(ROOT)}:\n{said.stderr.strip()}",
                f"It keeps its former configuration. The template is in infra/nginx; then: make stage{stage.number} up",
            )


def show(number: int) -> None:
    """Print what the configuration of every NGINX of a stage would be; the files stay as they are."""
    found = _rendered(number)
    if not found:
        raise Problem(f"Stage {number} has no NGINX.", "The first is the balancer of stage 3: make stage3 nginx")
    for one in found:
        print(f"# {one.service} reads {one.file.relative_to(ROOT)}:\n\n{one.text}")


def take_out(stage: Topology, app: str) -> None:
    """Take this one out of the balancer. Raises Problem if the balancer cannot be reconfigured."""
    said = inside(stage, stage.balancer or "", "touch", _mark(app))
    if said.returncode:
        raise Problem(
            f"The balancer cannot be reconfigured: {said.stderr.strip()}", f"How it is: make stage{stage.number} status"
        )


def put_back(stage: Topology, apps: Sequence[str]) -> None:
    """Let the balancer ask these again. One that is gone comes back asking all."""
    if stage.balancer:
        inside(stage, stage.balancer, "rm", "-f", *map(_mark, apps))


# What a box is asked with from within: an answer, or a failure within five seconds.
CURL = ("curl", "-fsS", "-m", "5")


def inside(stage: Topology, service: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a service's container, for its answer."""
    return answer(["docker", "exec", stage.container(service), *command])


def _rendered(number: int) -> list[Rendered]:
    return render(topology.config(compose(number)))


def _mark(app: str) -> str:
    """The file that nginx.conf.j2 looks for."""
    return f"/run/without-{app}"


def _started(container: str) -> float:
    """When a container was started, as files' times are counted."""
    said = answer(["docker", "inspect", "-f", "{{.State.StartedAt}}", container]).stdout.strip()
    # To the nanosecond, which datetime can't read.
    match = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d{1,6})?\d*Z", said)
    if match is None:
        return 0.0
    whole, part = match.groups()
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(part or 0)
