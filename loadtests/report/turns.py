"""Stages that were measured in turn: what each step gives, in words, as rows and as one HTML page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.report import words
from loadtests.report.charts import Line, Point, Scale, chart, logarithmic
from loadtests.report.page import drawn, environment, paragraphs
from loadtests.report.words import NONE, percent, rate

HEAD = (
    "step, mix",
    "ceilings, requests/s",
    "ratio",
    "queries a request",
    "cache hits",
    "goodput at 2×",
    "goodput at 3×",
)
_COLOURS = 6


class Row(NamedTuple):
    """A step's figures in words, those of both searches at each end."""

    to: int
    step: str
    mix: str
    ceilings: str
    ratio: str
    interval: str
    queries: str
    hits: str
    twice: str
    thrice: str

    def with_interval(self, form: str = "{}") -> str:
        """The ratio, in a form, and its interval."""
        return f"{form.format(self.ratio)} ({self.interval})" if self.interval else self.ratio

    @property
    def beside(self) -> tuple[str, ...]:
        """What stands beside the ratio, as HEAD has it."""
        return self.queries, self.hits, self.twice, self.thrice


class Counted(NamedTuple):
    """What a client's request led to before a step and after it, and the relative change, in words."""

    step: str
    what: str
    before: str
    after: str
    change: str


class Search(NamedTuple):
    """One of the searches in words, in its turn."""

    number: int
    stage: int
    ceiling: str
    interval: str
    why_none: str
    run: str


def rows(run: Mapping[str, Any]) -> list[Row]:
    """A row for each step."""
    return [_row(step, run["mix"]["name"]) for step in run["steps"]]


def _row(step: Mapping[str, Any], mix: str) -> Row:
    found, queries, hits = step["ratio"], step["counted"].get("queries"), step["hit_ratio"]
    kept = {
        load["times"]: _both({end: ", ".join(map(percent, load[end])) for end in ("from", "to")})
        for load in step["goodput"]
    }
    ceilings = {end: ", ".join(rate(one and one["rate"]) for one in step["ceilings"][end]) for end in ("from", "to")}
    return Row(
        to=step["to"],
        step=_name(step),
        mix=mix,
        ceilings=_both(ceilings),
        ratio=f"{found['middle']:.2f}" if found else NONE,
        interval=f"{found['low']:.2f} to {found['high']:.2f}" if found else "",
        queries=_change(queries["change"]) if queries else NONE,
        hits=_both({end: percent(share) for end, share in hits.items()}),
        twice=kept[2],
        thrice=kept[3],
    )


def _name(step: Mapping[str, Any]) -> str:
    return f"{step['from']} → {step['to']}"


def _both(ends: Mapping[str, str]) -> str:
    """What was before a step and after it; nothing where there is none of either."""
    before, after = ends["from"] or NONE, ends["to"] or NONE
    return NONE if before == after == NONE else f"{before} → {after}"


def _change(share: float | None) -> str:
    if share is None:
        return NONE
    return f"{'−' if share < 0 else '+' if share > 0 else ''}{percent(abs(share))}"


def counted(run: Mapping[str, Any]) -> list[Counted]:
    """A row for each step and for what of a request was counted at both of its ends."""
    return [Counted(_name(step), *told) for step in run["steps"] for told in _counted(step["counted"])]


def _counted(found: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str, str, str]]:
    for name, of_it in found.items():
        ends = ({"a_request": {name: of_it[end]}} for end in ("from", "to"))
        before, after = (words.a_request(end) for end in ends)
        for what, (text, _) in before.items():
            yield what, text, after[what][0], _change(of_it["change"])


def searches(run: Mapping[str, Any]) -> list[Search]:
    """A row for each search that began, in turn."""
    return [
        Search(
            number=number,
            stage=one["stage"],
            ceiling=rate(one["ceiling"] and one["ceiling"]["rate"]),
            interval=f"{rate(one['ceiling']['low'])} to {rate(one['ceiling']['high'])}" if one["ceiling"] else NONE,
            why_none=one["why_none"] or "",
            run=one["run"] or NONE,
        )
        for number, one in enumerate(run["turns"], 1)
    ]


def sentence(run: Mapping[str, Any]) -> str:
    """What each stage holds against the one before it."""
    said = [
        f"stage {step['to']} holds {step['ratio']['middle']:.2f} times what stage {step['from']} does"
        for step in run["steps"]
        if step["ratio"]
    ]
    return f"On {run['mix']['name']}, {', '.join(said) or 'no step has a ratio'}"


def notes(run: Mapping[str, Any]) -> list[str]:
    """What to know before using the figures."""
    found = []
    if not run["complete"]:
        found.append(f"This is incomplete: {run['why_incomplete']}. What was measured until then is below.")
    if any(step["ratio"] is None for step in run["steps"]):
        found.append("A step has a ratio where both searches of both its stages have a ceiling.")
    if run["mode"] == "quick":
        found.append("Quick searches, for teaching. Take full ones for figures to keep.")
    if run["commit"]["changed"]:
        found.append("Files had been changed since the commit that is named below.")
    return found


def page(run: Mapping[str, Any]) -> str:
    """The HTML, of a record in which there is at least one ceiling."""
    return (
        environment()
        .get_template("turns.html")
        .render(
            run=run,
            title=f"Stages {', '.join(map(str, run['stages']))} in turn, {run['mix']['name']}",
            sentence=sentence(run),
            notes=notes(run),
            figures=[drawn(ceilings(run))],
            head=HEAD,
            rows=rows(run),
            counted=counted(run),
            searches=searches(run),
            facts=_facts(run),
            model=paragraphs(run["mix"]["model"]),
        )
    )


def ceilings(run: Mapping[str, Any]) -> dict[str, str]:
    """The ceilings with their intervals over the turns, a line for each stage."""
    found = [(at, one) for at, one in enumerate(run["turns"], 1) if one["ceiling"]]
    lines = [
        _line(stage, place % _COLOURS + 1, [(at, one["ceiling"]) for at, one in found if one["stage"] == stage])
        for place, stage in enumerate(run["stages"])
    ]
    return {
        "title": "The ceilings, in turn",
        "svg": chart(
            name="ceilings",
            title="Ceiling and its interval, search by search",
            description="; ".join(_tip(at, one["stage"], one["ceiling"]) for at, one in found),
            x=Scale("search", 0.5, 2 * len(run["stages"]) + 0.5),
            y=logarithmic(
                "ceiling, requests/s (logarithmic)",
                [one["ceiling"][edge] for _, one in found for edge in ("low", "high")],
            ),
            lines=lines,
        ),
        "caption": "Vertical lines are the 95 % intervals. What a stage's two differ by is the machine, or chance.",
    }


def _line(stage: int, colour: int, found: Sequence[tuple[int, Mapping[str, float]]]) -> Line:
    """Through the interval of each ceiling, and from one ceiling to the next."""
    through = [(float(at), one[edge]) for at, one in found for edge in ("rate", "low", "high", "rate")]
    dots = [Point(at, one["rate"], _tip(at, stage, one)) for at, one in found]
    return Line(f"stage {stage}", colour, through, dots)


def _tip(at: int, stage: int, ceiling: Mapping[str, float]) -> str:
    return f"search {at}, stage {stage}: {rate(ceiling['rate'])}/s, {words.interval(ceiling)}"


def _facts(run: Mapping[str, Any]) -> dict[str, str]:
    """What was measured on, and when."""
    return {
        "machine": ", ".join(words.machine(run["machine"])),
        "boxes": f"of {' and '.join(f'{cpus:g}' for cpus in run['cpus'])} CPU",
        "dataset": ", ".join(f"{words.whole(run['dataset'][what])} {what}" for what in ("users", "articles")),
        "commit": (run["commit"]["id"] or "unknown")[:12] + (" and changes since" if run["commit"]["changed"] else ""),
        "measured": f"{words.time(run['started'])} to {words.time(run['ended'] or 'an unknown time')}",
    }
