"""A setting that a command itself needs, found where Compose finds the others: in the environment, then in .env."""

import os
import re
from collections.abc import Mapping

from infra.stage.problems import Problem
from infra.stage.stages import ROOT

FILE = ROOT / ".env"
EXAMPLE = ROOT / ".env.example"
HIGHEST_PORT = 65535


def said(name: str, default: str) -> str:
    """A setting as it is written, the default where it is absent or empty."""
    return os.environ.get(name, _in_file(name)) or default


def port(name: str, default: int) -> int:
    """A port of this machine, the default where the setting is absent or empty. Raises Problem for what is no port."""
    given = said(name, str(default))
    # int() alone would take signs, blanks and the digits of every script too.
    number = int(given) if re.fullmatch(r"[0-9]{1,5}", given) else 0
    if not 1 <= number <= HIGHEST_PORT:
        raise Problem(
            f"{name}={given} is no port.", f"Give a number from 1 to {HIGHEST_PORT}, for one call or in .env", status=2
        )
    return number


def defaults() -> dict[str, str]:
    """Every setting as it is where neither the environment nor .env says anything."""
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def keep(values: Mapping[str, str]) -> None:
    """Write settings into .env, in the place of those that it has; all else in it stays."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    replaced = [line for line in lines if not any(re.match(_line_of(name), line) for name in values)]
    FILE.write_text("\n".join([*replaced, *(f"{name}={value}" for name, value in values.items())]) + "\n")


def _in_file(name: str) -> str:
    """The value in .env, of which Compose reads the last, without quotes and comment; empty where there is none."""
    text = FILE.read_text() if FILE.exists() else ""
    values = re.findall(_line_of(name), text, re.MULTILINE)
    value = re.sub(r"(^|\s)#.*", "", values[-1]) if values else ""
    return value.strip().strip("\"'")


def _line_of(name: str) -> str:
    return rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*(.*)$"
