"""Line charts as inline SVG: no script, no font, no address; colours come from the page's CSS, light and dark.

Narrow enough (520 units) that the text is still readable when a phone scales them down. Every line is named
at its end, every point tells its figures to a pointer, and the figures stand in a table below for those who
cannot see them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 88, 26, 46
LABEL_GAP = 15


@dataclass(frozen=True)
class Point:
    """A measured point; ``tip`` is shown to a pointer, a hollow point is one that gave no verdict."""

    x: float
    y: float
    tip: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """A named line in one of the page's colours (1 to 6).

    ``through`` are its points, ``dots`` are drawn on it.
    """

    name: str
    colour: int
    through: Sequence[tuple[float, float]]
    dots: Sequence[Point] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Rule:
    """A reference: a horizontal line at ``y`` or a vertical one at ``x``, with its label."""

    label: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Scale:
    """An axis: its title with the unit, its ends, and whether it is logarithmic."""

    title: str
    low: float
    high: float
    log: bool = False
    form: Callable[[float], str] = field(default=lambda value: f"{value:,.0f}".replace(",", " "))

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1; beyond them it is held at the edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values to label."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if self.high / self.low < 2000 else (1,)
            values = [step * 10.0**decade for decade in decades for step in steps]
        else:
            step = _nice((self.high - self.low) / 5)
            first = math.ceil(self.low / step)
            values = [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [value for value in values if self.low <= value <= self.high * (1 + 1e-9)]


def linear(title: str, values: Sequence[float], form: Callable[[float], str] | None = None) -> Scale:
    """An axis from zero to a round value above all."""
    high = max([1.0, *values]) * 1.04
    step = _nice(high / 5)
    top = math.ceil(high / step) * step
    return Scale(title, 0, top, form=form) if form else Scale(title, 0, top)


def logarithmic(title: str, values: Sequence[float]) -> Scale:
    """An axis over the decades of positive values."""
    kept = [value for value in values if value > 0] or [1.0, 100.0]
    low = 10 ** math.floor(math.log10(min(kept)))
    high = max(kept) * 1.3
    return Scale(title, low, max(high, low * 10), log=True)


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(step, 1e-9)))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def chart(
    *,
    name: str,
    title: str,
    description: str,
    x: Scale,
    y: Scale,
    lines: Sequence[Line],
    rules: Sequence[Rule] = (),
) -> str:
    """The SVG element. ``name`` makes its ids unique on the page.

    Title and description are for screen readers.
    """

    def at(px: float, py: float) -> tuple[float, float]:
        return (
            round(LEFT + x.place(px) * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - y.place(py) * (HEIGHT - TOP - BOTTOM), 1),
        )

    out = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>',
        *_axes(x, y, at),
        *_rules(rules, x, y, at),
    ]
    ends = []
    for line in lines:
        if not line.through:
            continue
        places = [at(px, py) for px, py in line.through]
        path = "M" + " L".join(f"{px} {py}" for px, py in places)
        out.append(f'<path class="line c{line.colour}{" dashed" if line.dashed else ""}" d="{path}"/>')
        for dot in line.dots:
            cx, cy = at(dot.x, dot.y)
            hollow = " hollow" if dot.hollow else ""
            out.append(
                f'<circle class="dot c{line.colour}{hollow}" cx="{cx}" cy="{cy}" r="3.4">'
                f"<title>{escape(dot.tip)}</title></circle>"
            )
        ends.append((places[-1][1], line))
    out += _labels(ends)
    return "".join([*out, "</svg>"])


def _axes(x: Scale, y: Scale, at: Callable[[float, float], tuple[float, float]]) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    out = []
    for value in y.ticks():
        _, py = at(x.low, value)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{py}" y2="{py}"/>')
        out.append(f'<text class="tick" x="{LEFT - 7}" y="{py + 4}" text-anchor="end">{y.form(value)}</text>')
    for value in x.ticks():
        px, _ = at(value, y.low)
        out.append(f'<line class="axis" x1="{px}" x2="{px}" y1="{bottom}" y2="{bottom + 4}"/>')
        out.append(f'<text class="tick" x="{px}" y="{bottom + 18}" text-anchor="middle">{x.form(value)}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (LEFT + right) / 2
    out.append(f'<text class="name" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>')
    out.append(f'<text class="name" x="4" y="14">{escape(y.title)}</text>')
    return out


def _rules(rules: Sequence[Rule], x: Scale, y: Scale, at: Callable[[float, float], tuple[float, float]]) -> list[str]:
    out = []
    for rule in rules:
        if rule.x is not None and x.low <= rule.x <= x.high:
            px, _ = at(rule.x, y.low)
            # The label stands where there is room: left of a rule that is far to the right.
            side, offset = ("end", -5) if px > (LEFT + WIDTH - RIGHT) / 2 else ("start", 5)
            out.append(f'<line class="rule" x1="{px}" x2="{px}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            out.append(
                f'<text class="rule" x="{px + offset}" y="{TOP + 10}" text-anchor="{side}">{escape(rule.label)}</text>'
            )
        if rule.y is not None and y.low <= rule.y <= y.high:
            _, py = at(x.low, rule.y)
            out.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py}" y2="{py}"/>')
            out.append(f'<text class="rule" x="{LEFT + 5}" y="{py - 5}">{escape(rule.label)}</text>')
    return out


def _labels(ends: list[tuple[float, Line]]) -> list[str]:
    """Names at the lines' ends, pushed apart where lines end close to each other."""
    out = []
    ends = sorted(ends, key=lambda end: end[0])
    places: list[float] = []
    for place, _ in ends:
        places.append(max(place, places[-1] + LABEL_GAP if places else TOP))
    overflow = max(0.0, places[-1] - (HEIGHT - BOTTOM)) if places else 0.0
    for place, (_, line) in zip(places, ends, strict=True):
        y = place - overflow + 4
        out.append(f'<text class="end c{line.colour}" x="{WIDTH - RIGHT + 8}" y="{y:.1f}">{escape(line.name)}</text>')
    return out
