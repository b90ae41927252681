"""The charts of a run."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from loadtests.report.charts import Line, Point, Rule, Scale, chart, linear, logarithmic
from loadtests.report.words import kept, ms, percent, rate

Figure = dict[str, str]
LATENCIES = (("p50", 3), ("p95", 1), ("p99", 4))
BOX_COLOURS = (1, 2, 3, 4, 5, 6)
OFFERED = "offered, requests/s"


def judged(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Trials that the search judged, and the warm-ups at lower rates, by offered rate."""
    kept = [trial for trial in run["trials"] if trial["phase"] != "overload" and trial["phase"] != "warm-up"]
    return sorted(kept, key=lambda trial: float(trial["rate"]))


def offered(trial: dict[str, Any]) -> float:
    """Requests/s that really arrived: Poisson arrivals are not exactly as many as their rate says."""
    return float(trial["result"]["total"]["offered_rate"])


def roles(run: dict[str, Any]) -> dict[str, list[str]]:
    """The boxes by what they do, in the record's order; before they were recorded, each box was its own role."""
    found: dict[str, list[str]] = {}
    for box in run["boxes"]:
        found.setdefault(box.get("role", box["name"]), []).append(box["name"])
    return found


def line(
    name: str,
    colour: int,
    trials: Sequence[dict[str, Any]],
    value: Callable[[dict[str, Any]], float | None],
    unit: str,
) -> Line:
    """A line through the median at each rate, with a dot for each trial."""
    at: dict[float, list[tuple[float, float]]] = {}
    dots = []
    for trial in trials:
        figure = value(trial)
        if figure is None:
            continue
        at.setdefault(trial["rate"], []).append((offered(trial), figure))
        shown = percent(figure) if unit == "%" else f"{ms(figure)} {unit}"
        tip = f"{trial['phase']} at {rate(offered(trial))}/s: {name} {shown}"
        dots.append(Point(offered(trial), figure, tip, hollow=not trial["valid"]))
    through = [tuple(statistics.median(both) for both in zip(*at[nominal], strict=True)) for nominal in sorted(at)]
    return Line(name, colour, sorted((x, y) for x, y in through), dots)


def _total(figure: str) -> Callable[[dict[str, Any]], float | None]:
    def value(trial: dict[str, Any]) -> float | None:
        found: float | None = trial["result"]["total"][figure]
        return found

    return value


def _ceiling(run: dict[str, Any]) -> list[Rule]:
    found = (run.get("ceiling") or {}).get("rate")
    return [Rule(f"ceiling {rate(found)}/s", x=found)] if found else []


def latency(run: dict[str, Any]) -> Figure:
    """p50, p95 and p99 against the offered rate."""
    trials = judged(run)
    lines = [line(name, colour, trials, _total(name), "ms") for name, colour in LATENCIES]
    values = [y for one in lines for _, y in one.through]
    rules = [Rule(f"SLO: p95 ≤ {run['slo']['p95_ms']:.0f} ms", y=run["slo"]["p95_ms"]), *_ceiling(run)]
    return {
        "title": "How long answers take",
        "svg": chart(
            name="latency",
            title="Latency against offered rate",
            description=_told(trials, "p95", lambda trial: f"{ms(trial['result']['total']['p95'])} ms"),
            x=linear(OFFERED, [offered(trial) for trial in trials]),
            y=logarithmic("latency, ms (logarithmic)", [*values, run["slo"]["p95_ms"]]),
            lines=lines,
            rules=rules,
        ),
        "caption": "Each dot is a trial; lines go through the medians. Hollow: no verdict.",
    }


def achieved(run: dict[str, Any]) -> Figure:
    """Achieved against offered, over the ceiling, too."""
    trials = judged(run)
    done = line("achieved", 1, trials, _total("achieved_rate"), "/s")
    over = (run.get("overload") or {}).get("over", [])
    beyond: list[tuple[float, float]] = [(row["offered_rate"], row["goodput"]) for row in over]
    lines = [done]
    if beyond:
        dots = [Point(x, y, f"goodput {rate(y)}/s at {rate(x)}/s offered") for x, y in beyond]
        lines.append(Line("goodput", 2, [*done.through[-1:], *beyond], dots, dashed=True))
    most = max([x for one in lines for x, _ in one.through], default=1.0)
    highest = max([y for one in lines for _, y in one.through], default=1.0)
    even = min(most, highest * 1.15)
    lines.append(Line("offered", 0, [(0, 0), (even, even)], dashed=True))
    return {
        "title": "What is achieved of it",
        "svg": chart(
            name="achieved",
            title="Achieved rate against offered rate",
            description=_told(trials, "achieved", lambda trial: f"{rate(trial['result']['total']['achieved_rate'])}/s"),
            x=linear(OFFERED, [most]),
            y=linear("achieved, requests/s", [even]),
            lines=lines,
            rules=_ceiling(run),
        ),
        "caption": "Goodput counts answers within the SLO only, at twice and three times the ceiling.",
    }


def cpu(run: dict[str, Any]) -> Figure:
    """CPU of each box against the offered rate."""
    trials = judged(run)
    lines = []
    for place, (role, names) in enumerate(roles(run).items()):
        colour = BOX_COLOURS[place % len(BOX_COLOURS)]

        def busiest(trial: dict[str, Any], figure: str, names: list[str] = names) -> float:
            return max(float(trial["boxes"][name][figure]) for name in names)

        name = role if len(names) == 1 else f"{role} ×{len(names)}"
        used = line(name, colour, trials, lambda trial: busiest(trial, "utilisation"), "%")
        # With more roles than colours, those of the second turn are dashed.
        lines.append(Line(used.name, used.colour, used.through, used.dots, dashed=place >= len(BOX_COLOURS)))
        if len(run["boxes"]) <= 2:
            hit = line("throttled", colour, trials, lambda trial: busiest(trial, "throttled"), "%")
            lines.append(Line(hit.name, hit.colour, hit.through, dashed=True))
    highest = max([1.0] + [y for one in lines for _, y in one.through]) * 1.06
    return {
        "title": "How busy each box is",
        "svg": chart(
            name="cpu",
            title="CPU of each box against offered rate",
            description=_told(
                trials,
                "busiest box",
                lambda trial: percent(max(b["utilisation"] for b in trial["boxes"].values())),
            ),
            x=linear(OFFERED, [offered(trial) for trial in trials]),
            y=Scale("CPU, % of the box's quota", 0, highest, form=lambda value: f"{value * 100:.0f}"),
            lines=lines,
            rules=[Rule("its whole quota", y=1.0), *_ceiling(run)],
        ),
        "caption": f"Throttled (dashed): {words_of_throttled(run)}"
        if len(run["boxes"]) <= 2
        else "Utilisation of each box against its quota; of boxes that share a role, the busiest one's.",
    }


def words_of_throttled(run: dict[str, Any]) -> str:
    """What the share is of; before the machine was observed, it was of the periods."""
    if any("host" in trial for trial in run["trials"]):
        return "the share of the time in which the box wanted to run and had used up its quota."
    return "the share of scheduling periods in which the box ran into its quota."


def overload(run: dict[str, Any]) -> Figure | None:
    """The overload second by second."""
    trial = next((one for one in run["trials"] if one["phase"] == "overload"), None)
    if trial is None or not run.get("overload"):
        return None
    rows = trial["result"]["series"]
    ceiling = run["ceiling"]["rate"]
    lines = [
        Line("offered", 0, [(row["t"], row["offered"]) for row in rows], dashed=True),
        Line("answered", 3, [(row["t"], row["completed"]) for row in rows]),
        Line("ceiling", 0, [(0, ceiling), (len(rows), ceiling)], dashed=True),
        Line("good", 2, [(row["t"], row["good"]) for row in rows]),
    ]
    values = [float(row["offered"]) for row in rows]
    return {
        "title": "Overloaded, second by second",
        "svg": chart(
            name="overload",
            title="Offered, answered and good requests per second at 2 and 3 times the ceiling, then back",
            description=f"goodput beyond the ceiling: {kept(run['overload'])}",
            x=linear("seconds", [float(len(rows))]),
            y=linear("requests/s", values),
            lines=lines,
        ),
        "caption": "Twice the ceiling, three times, then back below it. Good: answered within the SLO.",
    }


def _told(trials: Sequence[dict[str, Any]], what: str, value: Callable[[dict[str, Any]], str]) -> str:
    """The chart in words, for who cannot see it."""
    return f"{what}: " + "; ".join(f"{value(trial)} at {rate(trial['rate'])}/s" for trial in trials)
