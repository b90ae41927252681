"""What works on a running stage from the tools' container: seed, load, ceiling, experiment, import."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.stage import lifecycle, media, ports, settings, topology
from infra.stage.problems import Problem
from infra.stage.shell import answer, compose, run

if TYPE_CHECKING:
    from data.loading.progress import Reporter

# The app's limits are not what a load measures; the library still counts against these.
NO_LIMITS = {"LOGIN_LIMIT": "1000000/second", "WRITE_LIMIT": "1000000/second"}
LOCUST_PORT = 8089
# CACHE_URL's in every compose file; LIMITS_URL's is another.
CACHE_DATABASE = "0"
IMAGE = "conduit/tools"


def seed(number: int, size: str, replace: bool) -> None:
    """Load the dataset: the covers' files into the stage's place for them, the rows into its databases.

    Files first, so that no row names one that is not there. The stage must be up.
    """
    stage = topology.read(number)
    lifecycle.require_up(stage)
    files = media.of(stage)
    build(number)
    drawing = f"{stage.project}-covers"
    once = ["run", "--rm", "--no-deps", "-T", "--name", drawing]
    _remove(drawing)
    try:
        with _progress() as progress:
            draw = compose(number, *once, "tools", "python", "-m", "data.seed.covers")
            digests = media.seed_covers(files, draw, progress)
    finally:
        _remove(drawing)
    databases = [word for url in stage.database_urls() for word in ("--database", url)]
    extra = ["--replace"] if replace else []
    covers = ["--covers", ",".join(digests)]
    command = ["python", "-m", "data.seed", "--size", size, *covers, *databases, *extra]
    _succeed(_tool(stage, "seed", {}, *command), "The seeding")
    forget(stage)


def load(number: int, mix: str) -> None:
    """Locust's web UI on 127.0.0.1, until Ctrl-C. Brings the stage up without limits first."""
    port = settings.port("LOCUST_PORT", LOCUST_PORT)
    _remove(f"{topology.read(number).project}-load")  # else one whose terminal was closed still holds the port
    by = ports.holder(port)
    if by:
        raise Problem(
            f"Port {port}, for Locust's pages, is in use by {by}.",
            f"Take another one: LOCUST_PORT={port + 1} make stage{number} load",
        )
    os.environ.update(NO_LIMITS)  # Compose fills them into the stage file
    lifecycle.up(number)
    stage = topology.read(number)
    build(number)
    print(f"\nLocust, mix {mix}: http://127.0.0.1:{port}    Its users are requests/s offered.", flush=True)
    print(f"Ctrl-C ends it; make stage{number} up restores the limits.", flush=True)
    options = ["--publish", f"127.0.0.1:{port}:8089"]
    given = {"MIX": mix, "DATABASE_URL": " ".join(stage.database_urls())}
    locust = ["locust", "-f", "loadtests/locustfile.py", "--host", stage.inside_url]
    _succeed(_tool(stage, "load", given, *locust, options=options), "Locust")


def ceiling(number: int, mix: str, quick: bool, strangers: bool) -> int:
    """Search the stage's ceiling, for strangers who each open a connection or for people who come again; returns the
    exit status.
    """
    topology.read(number)
    build(number)
    from loadtests.ceiling.cli import main  # noqa: PLC0415 - its libraries take a second that other verbs need not wait

    return main(number, mix, quick, strangers)


def shares(number: int, mix: str, quick: bool, rate: float | None) -> int:
    """Measure what takes the CPU of the stage's boxes on a mix; returns the exit status."""
    topology.read(number)
    build(number)
    from loadtests.shares.cli import main  # noqa: PLC0415 - its libraries take a second that other verbs need not wait

    return main(number, mix, quick, rate)


def experiment(number: int, what: str, quick: bool, rate: float | None) -> int:
    """Break something of a stage that is loaded, and count what people notice; returns the exit status."""
    topology.read(number)
    build(number)
    from loadtests.experiments.cli import main  # noqa: PLC0415 - its libraries take a second that other verbs need not

    return main(number, what, quick, rate)


def check(number: int, quick: bool, fault: str) -> int:
    """Cause faults while people write, and look for every write; returns the exit status."""
    topology.read(number)
    from loadtests.check.cli import main  # noqa: PLC0415 - its libraries take a second that other verbs need not wait

    return main(number, quick, fault)


def bring_over(number: int, source: int, replace: bool) -> None:
    """Copy the data of another stage into this one, verified. Stages that are down are started; the other one is
    stopped again when all is there.

    The databases are asked before any file goes: the covers and private reports of an import that is refused are not
    left at a stage that keeps its own data. Then the files go before the rows, so that no row names one that is not
    there, and once more after them, because people upload meanwhile.
    """
    if number == source:
        raise Problem(f"Stage {number} already has its own data.", "Name another stage: make stage2 import FROM=stage1")
    stages = topology.read(source), topology.read(number)
    started = [stage for stage in stages if not lifecycle.is_up(stage)]
    for stage in started:
        lifecycle.up(stage.number)
    files = media.of(stages[0]), media.of(stages[1])
    build(number)
    flags = ["--replace"] if replace else []
    _succeed(_importing(*stages, *flags, "--check"), "The import")
    with _progress() as progress:
        replaced = files[1].sums()
        media.bring_missing(*files, progress)
    _succeed(_importing(*stages, *flags), "The files are there, but the import of the rows")
    forget(stages[1])
    with _progress() as progress:
        media.verify(media.bring_missing(*files, progress), files[1], replaced, progress)
    if stages[0] in started:
        # What runs beside a stage takes CPU from it, and that would be measured with it.
        lifecycle.down(source, volumes=False)


def forget(stage: topology.Topology) -> None:
    """Empty the stage's caches: rows that did not come through the app were not told to them.

    An edge's copies of lists and articles are seconds old at the most. Raises Problem where a cache does not answer.
    """
    for cache in stage.caches:
        said = answer(["docker", "exec", stage.container(cache), "redis-cli", "-e", "-n", CACHE_DATABASE, "flushdb"])
        if said.returncode:
            raise Problem(
                f"The rows are there, but {cache} may still hold the former rows: {said.stderr.strip()}",
                f"Restart it empty: docker restart {stage.container(cache)}",
            )


def _importing(source: topology.Topology, target: topology.Topology, *flags: str) -> int:
    """Run the databases' side of an import, which prints for itself, and return its status."""
    # One container on both networks. Both stages may call a service `db`, so each is named by its container.
    ends = [
        word
        for stage, flag in ((source, "--from"), (target, "--to"))
        for database in stage.database_urls(by_container=True)
        for word in (flag, database)
    ]
    name = f"{target.project}-import"
    _remove(name)
    terminal = ["--tty"] if sys.stdout.isatty() else []
    create = ["docker", "create", "--rm", "--init", "--name", name, *terminal]
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "1000:1000", "--cpus", "1"]  # noqa: S108
    limits += ["--pids-limit", "512"]
    secrets = ["--env-file", "secrets/database.env", "--network", f"{source.project}_default"]
    made = answer([*create, *limits, *secrets, IMAGE, "python", "-m", "data.importing", *ends, *flags])
    joined = answer(["docker", "network", "connect", f"{target.project}_default", name])
    if made.returncode or joined.returncode:
        raise Problem((made.stderr + joined.stderr).strip(), "Check this machine with: make doctor")
    try:
        return run(["docker", "start", "--attach", name])
    finally:
        _remove(name)


def build(number: int) -> None:
    """The tools' image: with its progress the first time, quietly after."""
    there = answer(["docker", "image", "inspect", IMAGE]).returncode == 0
    if run(compose(number, "--profile", "tools", "build", *(["--quiet"] if there else []), "tools")) != 0:
        raise Problem("The tools' image could not be built; the step that failed is above.", "Check with: make doctor")


def _progress() -> "Reporter":
    from data.loading.progress import Reporter  # noqa: PLC0415 - rich takes a moment that other verbs need not wait

    return Reporter()


def _tool(
    stage: topology.Topology, what: str, given: Mapping[str, str], *command: str, options: list[str] | None = None
) -> int:
    """Run a command in the tools' container of a stage, and return its status.

    Compose leaves the container running when it is interrupted itself, so it has a name by which it is removed: at
    the end, and before the next one, in case a terminal was closed.
    """
    name = f"{stage.project}-{what}"
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["-T"]
    settings = [word for key, value in given.items() for word in ("-e", f"{key}={value}")]
    how = ["run", "--rm", "--no-deps", "--name", name, *terminal, *settings, *(options or [])]
    _remove(name)
    try:
        return run(compose(stage.number, *how, "tools", *command))
    finally:
        _remove(name)


def _remove(container: str) -> None:
    answer(["docker", "rm", "--force", container])


def _succeed(code: int, what: str) -> None:
    if code != 0:
        raise Problem(f"{what} did not finish; why is above.", status=code)
