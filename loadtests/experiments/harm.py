"""What is done to boxes: their process killed as by a fault, stopped, started anew."""

from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import DockerException

from loadtests.ceiling.boxes import Box
from loadtests.experiments.scene import CannotError

BASE_IMAGE = "conduit/base:trixie"
# Docker refuses, or answers too late, which its library lets through as it comes.
DOCKER_ERRORS = (DockerException, OSError)


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
    except DOCKER_ERRORS as error:
        raise CannotError(f"The process of {box.name} could not be killed from the host: {error}") from error
    return float(said)


def leave_dead(box: Box) -> None:
    """Kill a box so that Docker does not start it again. Raises CannotError."""
    try:
        box.container.kill()
    except DOCKER_ERRORS as error:
        raise CannotError(f"{box.name} could not be killed: {error}") from error


@contextmanager
def frozen(box: Box) -> Iterator[None]:
    """Nothing goes on in the box meanwhile, so that it can be looked at; what is killed meanwhile goes on no more.

    Raises CannotError.
    """
    try:
        try:
            box.container.pause()
        except DOCKER_ERRORS as error:
            raise CannotError(f"{box.name} could not be frozen: {error}") from error
        yield
    finally:
        _thaw(box)  # also after an interruption, or an answer that never came: it may be frozen all the same


def _thaw(box: Box) -> None:
    try:
        box.container.unpause()
    except DOCKER_ERRORS as error:
        # With cgroup v2 what is frozen dies at once when it is killed: Docker starts it again by itself.
        if _paused(box):
            raise CannotError(f"{box.name} is still frozen: {error}") from error


def _paused(box: Box) -> bool:
    """Whether Docker says so, or says nothing."""
    try:
        box.container.reload()
    except DOCKER_ERRORS:
        return True
    return bool(box.container.attrs["State"]["Paused"])


def restart(box: Box, seconds: int = 10) -> None:
    """Stop a box, which has so many seconds to end by itself, and start it. Raises CannotError."""
    try:
        box.container.restart(timeout=seconds)
    except DOCKER_ERRORS as error:
        raise CannotError(f"{box.name} could not be started anew: {error}") from error


def stop(box: Box, seconds: int = 2) -> None:
    """Stop a box, which has so many seconds to end by itself. Raises CannotError."""
    try:
        box.container.stop(timeout=seconds)
    except DOCKER_ERRORS as error:
        raise CannotError(f"{box.name} could not be stopped: {error}") from error


def start(box: Box) -> None:
    """Start a box that was stopped. Raises CannotError."""
    try:
        box.container.start()
    except DOCKER_ERRORS as error:
        raise CannotError(f"{box.name} could not be started: {error}") from error


def healthy(box: Box) -> bool:
    """Whether it is up and its health check says so; not while Docker does not answer."""
    try:
        box.container.reload()
    except DOCKER_ERRORS:
        return False
    return bool(box.container.attrs["State"].get("Health", {}).get("Status") == "healthy")


def inside(box: Box, *command: str) -> str:
    """What a command in a box prints; empty where it fails, as it does while the box is not there."""
    try:
        code, out = box.container.exec_run(list(command))
    except DOCKER_ERRORS:
        return ""
    return out.decode(errors="replace") if code == 0 else ""
