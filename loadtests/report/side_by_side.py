"""Two runs as one page: what the step from one stage to the other gave, and why."""

import math
from collections.abc import Sequence
from typing import Any

from loadtests.report import figures, words
from loadtests.report.charts import Line, Rule, Scale, chart, linear, logarithmic
from loadtests.report.page import drawn, environment, paragraphs, settings

Run = dict[str, Any]
COLOURS = (1, 2)
# Of more boxes than these, what doubling each would give is not said one by one.
MOST_NAMED = 2


def sentence(first: Run, second: Run) -> str:
    """What the second holds, against the first."""
    one, other = first["ceiling"]["rate"], second["ceiling"]["rate"]
    said = (
        f"Stage {second['stage']} holds {words.rate(other)} requests/s of {second['mix']['name']}, "
        f"{other / one:.2f} times the {words.rate(one)} of stage {first['stage']}"
    )
    if found := ratio(first["ceiling"], second["ceiling"]):
        said += f" (with 95 % confidence {found[0]:.2f} to {found[1]:.2f} times)"
    return said


def ratio(first: Run, second: Run) -> tuple[float, float] | None:
    """The interval of the second ceiling over the first; None where a record is older than intervals.

    The two are measured apart, so their relative errors add as squares do.
    """
    if not (first.get("low") and second.get("low")):
        return None
    off = math.hypot(*(math.log(ceiling["high"] / ceiling["low"]) / 2 for ceiling in (first, second)))
    middle = second["rate"] / first["rate"]
    return middle * math.exp(-off), middle * math.exp(off)


def facts(first: Run, second: Run) -> list[tuple[str, str, str]]:
    """Rows of name and two values."""
    rows = []
    for name, value in _FACTS:
        rows.append((name, value(first), value(second)))
    for found in ([words.a_request(run) for run in (first, second)], [_demands(run) for run in (first, second)]):
        one, other = found
        rows += [(name, one.get(name, ("",))[0], other.get(name, ("",))[0]) for name in {**one, **other}]
    return rows


def _demands(run: Run) -> dict[str, tuple[str, float]]:
    """CPU a request of each box, or of the boxes that share a role, and of their programs: in words, and in ms."""
    found: dict[str, tuple[str, float]] = {}
    for box in (run.get("demand") or {}).get("boxes", []):
        spent = box["per_request_ms"]
        found[f"CPU a request on {box['name']}"] = f"{spent:.2f} ms, {words.percent(box['utilisation'])} busy", spent
        for program, part in words.programs(box).items():
            spent = part["per_request_ms"]
            found[f"  of it {program} on {box['name']}"] = f"{spent:.2f} ms", spent
    return found


def explanation(first: Run, second: Run) -> list[str]:
    """Why the step gave what it gave, from the demands."""
    said = []
    demand, after = first.get("demand") or {}, second.get("demand") or {}
    if demand.get("if_split") and len(first["boxes"]) == 1 and len(second["boxes"]) == 2:
        predicted, measured = demand["if_split"], second["ceiling"]["rate"]
        said.append(
            f"From stage {first['stage']}'s trials, its two programs with a box each were expected to reach "
            f"{words.rate(predicted)}/s; measured were {words.rate(measured)}/s, so that the prediction is "
            f"{words.off(predicted, measured)}. "
            + (
                "What the network between them costs is in the difference."
                if measured < predicted
                else "So a request costs less where the two do not share a box: compare its CPU below."
            )
        )
    if role := _doubled_role(first, second):
        predicted, measured = demand.get("if_doubled", {}).get(role), second["ceiling"]["rate"]
        if predicted:
            said.append(
                f"With twice as many boxes “{role}”, {words.rate(predicted)}/s were expected from the first run's "
                f"trials; measured were {words.rate(measured)}/s, so that the prediction is "
                f"{words.off(predicted, measured)}."
            )
    if after.get("saturates") and after["if_doubled"]:
        saturates = after["saturates"]
        doubled = after["if_doubled"]
        others = [name for name in doubled if name != saturates]
        said.append(
            f"At stage {second['stage']} “{saturates}” saturates first: doubled, it would lift the ceiling to about "
            f"{words.rate(doubled[saturates])}/s"
            + (
                "".join(f"; doubling “{name}” instead, to {words.rate(doubled[name])}/s" for name in others)
                if len(others) <= MOST_NAMED
                else "; doubling any other instead would not lift it"
            )
            + "."
        )
    return said + _cuts(first, second)


def _doubled_role(first: Run, second: Run) -> str | None:
    """The role of which the second has twice the boxes, if all else is the same."""
    one, other = ({role: len(names) for role, names in figures.roles(run).items()} for run in (first, second))
    for role, number in one.items():
        if other == one | {role: 2 * number}:
            return role
    return None


def _cuts(first: Run, second: Run) -> list[str]:
    """By how much less one request leads to behind the edge."""
    before, after = words.a_request(first), words.a_request(second)
    cuts = [
        f"{name}: {before[name][0]} to {after[name][0]}, {words.percent(1 - after[name][1] / before[name][1])} less"
        for name in before
        if name in after and "hits" not in name and 0 < after[name][1] < before[name][1]
    ]
    return [f"From stage {first['stage']} to {second['stage']}: {'; '.join(cuts)}."] if cuts else []


def _saturates(run: Run) -> str:
    demand = run.get("demand") or {}
    return demand.get("saturates") or "none"


def _overload(run: Run) -> str:
    overload = run.get("overload")
    return words.kept(overload) if overload else words.NONE


def _recovery(run: Run) -> str:
    overload = run.get("overload")
    if not overload:
        return words.NONE
    return words.recovered(overload, f"not within {overload['watched_seconds']} s")


def _spread(run: Run) -> str:
    done = run["ceiling"]["completed_rate"]
    return f"{words.rate(done['median'])} ({words.rate(done['low'])} to {words.rate(done['high'])})"


def _interval(run: Run) -> str:
    ceiling = run["ceiling"]
    return f"{words.rate(ceiling['low'])} to {words.rate(ceiling['high'])}" if ceiling.get("low") else words.NONE


_FACTS = (
    ("ceiling, requests/s", lambda run: words.rate(run["ceiling"]["rate"])),
    ("its 95 % interval", _interval),
    ("predicted before it", lambda run: words.rate((run.get("prediction") or {}).get("ceiling"))),
    ("achieved there (median, spread)", _spread),
    ("p95 there, ms", lambda run: words.ms(run["ceiling"]["p95"]["median"])),
    ("lowest rate that failed", lambda run: words.rate(run["ceiling"]["failed"])),
    ("boxes", lambda run: ", ".join(box["name"] for box in run["boxes"])),
    ("saturates first", _saturates),
    ("goodput left at 3 × the ceiling", _overload),
    ("recovered after", _recovery),
    ("search", lambda run: str(run["mode"])),
)


def page(first: Run, second: Run, beside: Sequence[str] = ()) -> str:
    """The HTML of both, with notes on the two together."""
    runs = (first, second)
    trials = [figures.judged(run) for run in runs]
    rates = [figures.offered(trial) for some in trials for trial in some]
    names = [f"stage {run['stage']}" for run in runs]
    if names[0] == names[1]:
        names = ["first", "second"]
    ceilings = [Rule(f"{words.rate(run['ceiling']['rate'])}/s", x=run["ceiling"]["rate"]) for run in runs]

    def lines(figure: str, unit: str) -> list[Line]:
        return [
            figures.line(name, colour, some, lambda trial: trial["result"]["total"][figure], unit)
            for name, colour, some in zip(names, COLOURS, trials, strict=True)
        ]

    waits, done = lines("p95", "ms"), lines("achieved_rate", "/s")
    slo = first["slo"]["p95_ms"]
    offered = linear(figures.OFFERED, rates)
    told = "; ".join(" ".join(row) for row in facts(first, second)[:3])
    latency: Scale = logarithmic("p95, ms (logarithmic)", [slo, *(y for one in waits for _, y in one.through)])
    achieved: Scale = linear("achieved, requests/s", [y for one in done for _, y in one.through])
    drawings = [
        {
            "title": "How long answers take",
            "svg": chart(
                name="latency",
                title="p95 of both against offered rate",
                description=told,
                x=offered,
                y=latency,
                lines=waits,
                rules=[Rule(f"SLO: p95 ≤ {slo:.0f} ms", y=slo), *ceilings],
            ),
            "caption": "Each dot is a trial; the vertical lines are the ceilings.",
        },
        {
            "title": "What is achieved of it",
            "svg": chart(
                name="achieved",
                title="Achieved rate of both against offered rate",
                description=told,
                x=offered,
                y=achieved,
                lines=done,
                rules=ceilings,
            ),
            "caption": "Where a line bends away, the stage does not keep up.",
        },
    ]
    notes = list(beside)
    if first["mode"] != second["mode"]:
        notes.append("One search was quick and the other full: the quick one's figures are rougher.")
    elif first["mode"] == "quick":
        notes.append("Quick searches, for teaching. Take full ones for figures to keep.")
    template = environment().get_template("compare.html")
    return template.render(
        title=sentence(first, second),
        sentence=sentence(first, second) + ".",
        notes=notes,
        explanation=explanation(first, second),
        figures=[drawn(figure) for figure in drawings],
        rows=facts(first, second),
        names=names,
        runs=[(name, run, settings(run)) for name, run in zip(names, runs, strict=True)],
        model=paragraphs(first["mix"]["model"]),
        mix=first["mix"]["name"],
    )
