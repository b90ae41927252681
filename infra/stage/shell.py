"""Running Docker and Compose: as a step that prints by itself, or for its answer."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from infra.stage.problems import Problem
from infra.stage.stages import ROOT, files

# Where Compose mounts NGINX's configurations from. The commands render them by this machine's settings, into a folder
# that git does not see; without this, Compose takes the committed ones, which have the settings' defaults.
OWN = {"NGINX_CONFIGS": "./.stages"}
# How long a child may take to end by itself after Ctrl-C, which the terminal sent to it as well.
PATIENCE = 15.0


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Run a command that prints for itself, and return its status.

    On Ctrl-C it is waited for, so that it can put away what it began; only then is it ended.
    """
    child = subprocess.Popen(command, cwd=ROOT, env=_environment(env))
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGTERM)
        raise


def answer(command: Sequence[str], env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command for what it prints, at most a minute. Its status is the caller's to judge."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: not found")
    except subprocess.TimeoutExpired:
        raise Problem(
            f"`{' '.join(command[:3])}` did not answer within a minute.", "Is Docker well? Check with: make doctor"
        ) from None


def compose(number: int, *arguments: str) -> list[str]:
    """The compose command of a stage, with the boxes that `up APPS=` has put beside those of its file."""
    return ["docker", "compose", *(word for file in files(number) for word in ("-f", file)), *arguments]


def compose_rows(number: int, *arguments: str) -> list[dict[str, Any]]:
    """What a compose command with --format json says: one object a row.

    Compose up to 2.20 printed one list; later ones print an object a line.
    """
    said = answer(compose(number, *arguments, "--format", "json"))
    if said.returncode != 0:
        raise Problem(said.stderr.strip(), "The file may have been edited: git diff docker-compose.*.yml; or .env")
    text = said.stdout.strip()
    if not text:
        return []
    if text.startswith("["):
        rows: list[dict[str, Any]] = json.loads(text)
        return rows
    return [json.loads(line) for line in text.splitlines()]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **OWN, **(more or {})}
