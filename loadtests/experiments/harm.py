"""What is done to boxes: their process killed as by a fault, stopped, started anew."""

from docker.errors import DockerException

from loadtests.ceiling.boxes import Box
from loadtests.experiments.scene import CannotError

BASE_IMAGE = "conduit/base:trixie"


def kill(box: Box) -> float:
    """Kill a box's process from the host; returns when, by ``time.time`` on Docker's machine.

    Not `docker kill`, after which Docker leaves the box dead, since a person wanted it so; and no signal from inside
    reaches the first process of a box. A helper that sees the processes of Docker's machine does it, which works also
    where that is a virtual one. Raises CannotError.
    """
    try:
        box.container.reload()
        process = int(box.container.attrs["State"]["Pid"])
        if not process:
            raise CannotError(f"{box.name} does not run, so nothing of it can be killed.")
        said = box.container.client.containers.run(
            BASE_IMAGE,
            ["sh", "-c", f"kill -9 {process} && date +%s.%N"],
            remove=True,
            pid_mode="host",
            network_mode="none",
        )
    except DockerException as error:
        raise CannotError(f"The process of {box.name} could not be killed from the host: {error}") from error
    return float(said)


def restart(box: Box, seconds: int = 10) -> None:
    """Stop a box, which has so many seconds to end by itself, and start it. Raises CannotError."""
    try:
        box.container.restart(timeout=seconds)
    except DockerException as error:
        raise CannotError(f"{box.name} could not be started anew: {error}") from error


def stop(box: Box, seconds: int = 2) -> None:
    """Stop a box, which has so many seconds to end by itself. Raises CannotError."""
    try:
        box.container.stop(timeout=seconds)
    except DockerException as error:
        raise CannotError(f"{box.name} could not be stopped: {error}") from error


def start(box: Box) -> None:
    """Start a box that was stopped. Raises CannotError."""
    try:
        box.container.start()
    except DockerException as error:
        raise CannotError(f"{box.name} could not be started: {error}") from error


def inside(box: Box, *command: str) -> str:
    """What a command in a box prints; empty where it fails, as it does while the box is not there."""
    try:
        code, out = box.container.exec_run(list(command))
    except DockerException:
        return ""
    return out.decode(errors="replace") if code == 0 else ""

