"""What ``make bench`` measures, each in a box of the app's size on stage 2's network: the app as it is, served by
FastAPI alone, as it was at an earlier commit, and the floor beneath it.
"""

import json
import subprocess
import tempfile
from typing import NamedTuple

from infra.stage import tools, topology
from infra.stage.problems import Problem
from infra.stage.shell import answer
from infra.stage.stages import ROOT

PREFIX = "conduit-bench-"
# As the stage file says it, the app is a service of that name.
APP = "app"
SERVE = ["python", "-m", "conduit", "serve"]


class Target(NamedTuple):
    """A program to measure. ``host`` is its name on the stage's network, ``commit`` what it was built from."""

    name: str
    host: str
    image: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


def targets(before: str) -> list[Target]:
    """The app first. ``before`` is a commit of this repository; empty for none."""
    found = [
        Target("app", APP),
        Target("plain", f"{PREFIX}plain", "conduit/app", tuple(SERVE), ("ROUTES=plain",)),
        Target("floor", f"{PREFIX}floor", tools.IMAGE, ("python", "-m", "loadtests.bench.floor")),
    ]
    if before:
        found.insert(1, Target("before", f"{PREFIX}before", _image_of(before), tuple(SERVE)))
    return found


def start(stage: topology.Topology, target: Target) -> None:
    """Start a target beside the app, of the app's size and with its limits off."""
    remove(target)
    inspect = "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}"
    box = answer(["docker", "inspect", "-f", inspect, stage.container(APP)])
    period, quota, memory = box.stdout.split()
    url = stage.database_urls()[0].partition("=")[2]
    given = [f"DATABASE_URL={url}", "MEDIA_DIR=/tmp", *target.environment]
    given += [f"{name}={value}" for name, value in tools.NO_LIMITS.items()]
    started = answer(
        [
            *("docker", "run", "--detach", "--name", target.host, "--network", f"{stage.project}_default"),
            *("--cpu-period", period, "--cpu-quota", quota, "--memory", memory, "--user", "1000:1000"),
            *("--pids-limit", "256", "--cap-drop", "ALL"),
            *("--env-file", "secrets/database.env", "--env-file", "secrets/app.env"),
            *(word for pair in given for word in ("--env", pair)),
            *(target.image, *target.command),
        ]
    )
    if started.returncode:
        raise Problem(started.stderr.strip(), "Check this machine with: make doctor")


def remove(target: Target) -> None:
    if target.host.startswith(PREFIX):
        answer(["docker", "rm", "--force", target.host])


def _image_of(commit: str) -> str:
    """The app's image at a commit, built from what git has of it."""
    found = answer(["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"])
    if found.returncode:
        raise Problem(
            f"This clone has no commit {commit} to compare with.",
            "Name one that it has, or none: make bench BEFORE=",
        )
    image = f"conduit/app-at-{found.stdout.strip()[:12]}"
    if answer(["docker", "images", "--quiet", image]).stdout:
        return image
    print(f"Building the app as it was at {commit} ...", flush=True)
    with tempfile.TemporaryDirectory() as context:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", context], input=archive.stdout, check=True)
        build = {"context": context, "dockerfile": "infra/images/Dockerfile", "target": "conduit"}
        service = {"image": image, "build": build | {"secrets": ["ca_bundle"]}}
        file = {"services": {"app": service}, "secrets": {"ca_bundle": {"file": str(ROOT / "secrets" / "ca.pem")}}}
        built = subprocess.run(
            ["docker", "compose", "--project-name", f"{PREFIX}before", "--file", "-", "build", "--quiet", "app"],
            input=json.dumps(file),
            capture_output=True,
            text=True,
            check=False,
        )
    if built.returncode:
        raise Problem(f"The app at {commit} could not be built: {built.stderr.strip()[-500:]}")
    return image
