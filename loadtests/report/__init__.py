"""A run's raw data as one HTML file that opens without a network: `write(folder)`."""

import json
from pathlib import Path

from loadtests.report import turns
from loadtests.report.page import run_page
from loadtests.report.words import sentence

__all__ = ["sentence", "write"]


def write(folder: Path) -> Path:
    """Make report.html from run.json of a folder; returns its path."""
    data = json.loads((folder / "run.json").read_text())
    path = folder / "report.html"
    path.write_text(turns.page(data) if data.get("kind") == "turns" else run_page(data))
    return path
