"""``python -m loadtests.report.cited``: fill the tables of figures in the docs from the runs that they cite.

A table stands between ``<!-- figures: NAME NAME -->`` and ``<!-- end -->``; each name is a folder in ``docs/runs``. No
figure is typed by hand, and a test holds the pages against the runs.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from loadtests.report.words import ms, percent, rate

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"(<!-- figures: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The pages that may cite runs: the README and the docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(page: Path) -> str:
    """The page's text with every table made anew from its runs. Raises FileNotFoundError for a run that is not kept."""
    above = "../" * (len(page.relative_to(ROOT).parts) - 1)

    def table(block: re.Match[str]) -> str:
        runs = [(name, _run(name)) for name in block[2].split()]
        head = [
            "stage, mix",
            "ceiling, requests/s",
            "p95 there",
            "CPU of each box there",
            "CPU ms a request",
            "goodput at 3×",
            "run",
        ]
        lines = [_line(head), _line(["---"] * len(head))]
        lines += [_line(_cells(name, run, above)) for name, run in runs]
        return block[1] + "\n".join(lines) + "\n" + block[3]

    return _BLOCK.sub(table, page.read_text())


def _run(name: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((ROOT / "docs" / "runs" / name / "run.json").read_text())
    return run


def _cells(name: str, run: dict[str, Any], above: str) -> list[str]:
    ceiling, demand, overload = run.get("ceiling") or {}, run.get("demand") or {"boxes": []}, run.get("overload")
    spread = ceiling.get("p95") or {}
    return [
        f"{run['stage']}, {run['mix']['name']}",
        f"**{rate(ceiling.get('rate'))}**",
        f"{ms(spread.get('median'))} ms",
        ", ".join(f"{box['name']} {percent(box['utilisation'])}" for box in demand["boxes"]),
        ", ".join(_demand(box) for box in demand["boxes"]),
        f"{percent(overload['kept'])}, {overload['verdict']}" if overload else "–",
        f"[{run['mode']}, {run['started'][:10]}]({above}docs/runs/{name}/report.html)",
    ]


def _demand(box: dict[str, Any]) -> str:
    programs = box.get("programs") or {}
    if len(programs) < 2:
        return f"{box['name']} {box['per_request_ms']:.2f}"
    parts = " + ".join(f"{name} {found['per_request_ms']:.2f}" for name, found in programs.items())
    return f"{box['name']} {box['per_request_ms']:.2f} ({parts})"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    for page in pages():
        text = filled(page)
        if text != page.read_text():
            page.write_text(text)
            print(f"filled {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
