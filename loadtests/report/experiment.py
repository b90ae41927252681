"""An experiment's run as one HTML page: the verdict, the figures, and the load second by second."""

import json
from pathlib import Path
from typing import Any

from loadtests.report.charts import Line, Rule, chart, linear, logarithmic
from loadtests.report.page import drawn, environment, paragraphs, settings
from loadtests.report.words import remedy

WORDS = {True: "Held", False: "Did not hold", None: "No verdict"}
# With more of them, what was done is marked and not told in the chart.
MOST_TOLD = 4


def write(folder: Path) -> Path:
    """Make report.html from run.json of a folder; returns its path."""
    run = json.loads((folder / "run.json").read_text())
    path = folder / "report.html"
    path.write_text(page(run))
    return path


def page(run: dict[str, Any]) -> str:
    """The HTML."""
    verdict = run["verdict"]
    loads = [trial for trial in run["trials"] if trial["result"].get("series")]
    return (
        environment()
        .get_template("experiment.html")
        .render(
            run=run,
            title=f"Stage {run['stage']}, experiment {run['experiment']}",
            word=WORDS[verdict["held"]],
            verdict=verdict,
            note=note(run),
            figures=[drawn(figure) for trial in loads for figure in (answers(trial), waits(trial))],
            settings=settings(run),
            model=paragraphs(run["mix"]["model"]),
        )
    )


def note(run: dict[str, Any]) -> str:
    """What to do where the host was the limit; empty where it was not."""
    loads = [trial["result"] for trial in run["trials"] if trial["result"].get("series")]
    return remedy(run | {"trials": [{"limits": _limits(result)} for result in loads]})


def _limits(result: dict[str, Any]) -> list[str]:
    from loadtests.experiments.verdict import limits  # noqa: PLC0415 - what tells of experiments is not needed by them

    return limits(result, 0.0)


def _rules(trial: dict[str, Any]) -> list[Rule]:
    events = trial["events"]
    return [Rule(event["what"] if len(events) <= MOST_TOLD else "", x=event["t"]) for event in events]


def answers(trial: dict[str, Any]) -> dict[str, str]:
    """Requests offered, answered and failed in each second."""
    rows = trial["result"]["series"]
    lines = [
        Line("offered", 0, [(row["t"], row["offered"]) for row in rows], dashed=True),
        Line("answered", 3, [(row["t"], row["completed"]) for row in rows]),
        Line("failed", 2, [(row["t"], row["errors"]) for row in rows]),
    ]
    return {
        "title": "What was asked, and what became of it",
        "svg": chart(
            name="answers",
            title="Requests offered, answered and failed, second by second",
            description=f"{sum(row['errors'] for row in rows)} of {sum(row['offered'] for row in rows)} failed",
            x=linear("seconds", [float(len(rows))]),
            y=linear("requests/s", [float(max(row["offered"], row["completed"])) for row in rows]),
            lines=lines,
            rules=_rules(trial),
        ),
        "caption": "Failed: counted in the second in which the request was sent.",
    }


def waits(trial: dict[str, Any]) -> dict[str, str]:
    """The p95 of each second."""
    rows = [row for row in trial["result"]["series"] if row["p95"]]
    return {
        "title": "How long answers took",
        "svg": chart(
            name="waits",
            title="p95 of what was asked in each second",
            description=f"at most {max((row['p95'] for row in rows), default=0):.0f} ms",
            x=linear("seconds", [float(len(trial["result"]["series"]))]),
            y=logarithmic("p95, ms (logarithmic)", [row["p95"] for row in rows]),
            lines=[Line("p95", 1, [(row["t"], row["p95"]) for row in rows])],
            rules=_rules(trial),
        ),
        "caption": "Of the requests that were sent in that second, those that were answered.",
    }
