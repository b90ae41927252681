"""A run as a page."""

import re
import statistics
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from loadtests.report import cache, figures, words

HERE = Path(__file__).parent


def environment() -> Environment:
    """Templates with the pages' filters."""
    made = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.filters |= {
        "rate": words.rate,
        "ms": words.ms,
        "ms2": lambda value: words.NONE if value is None else f"{value:.2f}",
        "percent": words.percent,
        "time": words.time,
        "programs": words.programs,
        "whole": lambda value: f"{value:.0f}",
    }
    made.globals["style"] = Markup((HERE / "style.css").read_text())  # noqa: S704 - our own file
    return made


def drawn(figure: dict[str, str]) -> dict[str, Any]:
    """A figure whose SVG goes into the page as it is; its text was escaped when it was drawn."""
    return figure | {"svg": Markup(figure["svg"])}  # noqa: S704 - made by charts.py, which escapes


def run_page(run: dict[str, Any]) -> str:
    """The report of one run, complete or not, as HTML."""
    # An interrupted run has no more than it came to.
    run = {"ceiling": {}, "overload": None, "demand": None, "prediction": None} | run
    drawings = []
    if figures.judged(run):
        drawings = [figures.latency(run), figures.achieved(run), figures.cpu(run)]
        if beyond := figures.overload(run):
            drawings.append(beyond)
    shown = routes_trial(run)
    return (
        environment()
        .get_template("run.html")
        .render(
            run=run,
            title=f"Stage {run['stage']}, {run['mix']['name']}: ceiling",
            sentence=words.sentence(run),
            notes=words.notes(run),
            numbers=words.numbers(run),
            why_overloaded=words.why_overloaded(run),
            foretold=words.foretold(run),
            background={box["role"] for box in run["boxes"] if box.get("background")},
            fitted=any("base_cpu" in box for box in (run["demand"] or {"boxes": []})["boxes"]),
            expected=(run["prediction"] or {}).get("ceiling") or run["ceiling"].get("rate"),
            figures=[drawn(figure) for figure in drawings],
            routes=sorted(shown["result"]["routes"].items(), key=lambda item: -item[1]["offered"]) if shown else [],
            routes_caption=f"{shown['phase']} at {words.rate(shown['rate'])} requests/s" if shown else "",
            cache_head=cache.HEAD,
            cache_rows=cache.table(run),
            cache_age=cache.age(run),
            cache_means=(cache.MEANS, cache.AGE_MEANS),
            box_names=[box["name"] for box in run["boxes"]],
            settings=settings(run),
            throttled=figures.words_of_throttled(run),
            model=paragraphs(run["mix"]["model"]),
        )
    )


def routes_trial(run: dict[str, Any]) -> dict[str, Any] | None:
    """The trial whose routes are shown: the last passed one at the highest rate, confirmations first."""
    passed = [trial for trial in run["trials"] if trial["judged"] and trial["passed"] and trial["valid"]]
    return max(passed, key=lambda trial: (trial["phase"] == "confirmation", trial["rate"]), default=None)


def settings(run: dict[str, Any]) -> Markup:
    """The machine, the boxes, the dataset, the commit and the search's settings, as a list."""
    machine, data = run["machine"], run["dataset"]
    commit = run["commit"]["id"] or "unknown"
    boxes = ", ".join(f"{box['name']} {box['cpus']:g} CPU {words.size(box['memory'])}" for box in run["boxes"])
    counts = ", ".join(
        f"{count:,} {name}".replace(",", " ") for name, count in data.items() if name != "articles_sampled"
    )
    rows = {
        "machine": ", ".join(words.machine(machine)),
        "system": f"{machine.get('system')}, kernel {machine.get('kernel')}",
        **_speed(run),
        "Docker": f"{machine.get('docker')}, cgroup v{machine.get('cgroup')}",
        "boxes": boxes,
        **{f"set for {names}": pairs for pairs, names in _settings_of_boxes(run).items()},
        "generator": f"{run['generator']['cpus']:g} CPU, on the stage's network",
        "dataset": f"{counts}; requests go to {data['articles_sampled']:,} of the articles".replace(",000", " 000"),
        **({"cache": words.warmed(run["warmed"])} if run.get("warmed") else {}),
        "commit": commit[:12] + (" and changes since" if run["commit"]["changed"] else ""),
        run.get("kind", "search"): f"{run['mode']}: "
        + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in run["settings"].items() if name != "mode"),
        "measured": f"{words.time(run['started'])} to {words.time(run['ended'] or 'an unknown time')}",
    }
    items = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in rows.items())
    return Markup("<dl>{}</dl>").format(items)


def _speed(run: dict[str, Any]) -> dict[str, str]:
    """The machine's own speed over the trials, and how much of it a hypervisor took; older records have none."""
    beats = [canary for trial in run["trials"] if (canary := trial["result"].get("canary"))]
    if not beats:
        return {}
    stolen = max((trial.get("host") or {}).get("stolen") or 0.0 for trial in run["trials"])
    best, usually = (_of_trials([beat[name] for beat in beats]) for name in ("ns", "median"))
    said = f"a hash of the canary took {best} at best, and usually {usually}"
    return {"speed": f"{said}; at most {words.percent(stolen)} of the CPU stolen by a hypervisor"}


def _of_trials(ns: list[float]) -> str:
    return f"{statistics.median(ns):.0f} ns ({min(ns):.0f} to {max(ns):.0f} in single trials)"


def _settings_of_boxes(run: dict[str, Any]) -> dict[str, str]:
    """The boxes' settings, each with the names of all boxes that have the same."""
    found: dict[str, list[str]] = {}
    for box in run["boxes"]:
        if box.get("settings"):
            found.setdefault(_pairs(box["settings"]), []).append(box["name"])
    return {pairs: ", ".join(names) for pairs, names in found.items()}


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def paragraphs(text: str) -> Markup:
    """A docstring with its line breaks inside paragraphs taken out."""
    return Markup("\n\n").join(escape(re.sub(r"\s*\n\s*", " ", part)) for part in text.split("\n\n"))
