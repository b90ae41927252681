"""Twelve motifs in many palettes, each drawn from two numbers alone, the same every time.

Drawn at twice the size and reduced, which smooths edges that Pillow draws hard. A little grain over it gives the files
nearly the weight of photographs, which flat colours do not have.
"""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageOps

from data.pictures.canvas import HEIGHT, PALETTES, SCALE, WIDTH, Canvas, Colour, H, Point, W, between, clear, summed

# Levels of brightness, of 255, by which neighbours differ at most from what was drawn.
_GRAIN = 9
_NIGHT: Colour = (8, 10, 26)
_WHITE: Colour = (255, 255, 255)


def _code(on: Canvas) -> None:
    """Lines of a program on a page of their own, as bars of its words."""
    rng, colours, top = on.rng, on.colours, on.palette.top
    on.pen.rounded_rectangle((0.09 * W, 0.1 * H, 0.91 * W, 1.1 * H), 50, fill=colours[2])
    for dot in range(3):
        on.disc(0.125 * W + dot * 70, 0.16 * H, 22, fill=colours[(dot + 3) % 4])
    inks = (top, top, on.palette.bottom, colours[0], on.accent)
    depth = 0
    for line in range(15):
        x, y = 0.13 * W + depth * 130, (0.24 + 0.055 * line) * H
        for _ in range(rng.randint(1, 5)):
            width = rng.uniform(70, 420)
            if x + width > 0.86 * W:
                break
            on.glass.rounded_rectangle((x, y, x + width, y + 44), 22, fill=clear(rng.choice(inks), 225))
            x += width + 36
        depth = max(0, min(4, depth + rng.choice((-1, 0, 1, 1, -1))))


def _blocks(on: Canvas) -> None:
    """A field of boxes of different heights, seen from a corner and drawn from the back."""
    wide, half = 160, 92
    for row in range(-1, H // half + 6):
        for column in range(-1, W // (2 * wide) + 2):
            x, y = column * 2 * wide + (row % 2) * wide, row * half
            lift = on.rng.choice((0, 30, 90, 180, 320))
            lid = between(on.palette.top, on.colours[0], on.rng.random())
            if on.rng.random() < 0.08:
                lid = on.accent
            back, right = (x, y - half - lift), (x + wide, y - lift)
            front, left = (x, y + half - lift), (x - wide, y - lift)
            # As deep as the tallest is high: below that, other boxes stand before it.
            foot = y + half + 330
            on.pen.polygon([left, front, (x, foot), (x - wide, foot)], fill=on.colours[1])
            on.pen.polygon([front, right, (x + wide, foot), (x, foot)], fill=on.colours[2])
            on.pen.polygon([back, right, front, left], fill=lid)


def _network(on: Canvas) -> None:
    """Points, each joined to its nearest."""
    rng = on.rng
    points: list[Point] = [
        ((n % 9 + rng.uniform(0.15, 0.85)) * W / 9, (n // 9 + rng.uniform(0.15, 0.85)) * H / 5) for n in range(45)
    ]
    for point in points:
        for other in sorted(points, key=lambda there: math.dist(there, point))[1:4]:
            on.glass.line([point, other], fill=clear(on.colours[1], 170), width=9)
    for x, y in points:
        radius = rng.choice((28, 34, 44, 44, 78))
        on.disc(x, y, radius + 12, fill=on.palette.top)
        on.disc(x, y, radius, fill=on.accent if radius > 70 else on.colours[rng.randrange(1, 3)])


def _plates(on: Canvas) -> None:
    """Plates seen from above, with something on them."""
    rng, colours = on.rng, on.colours
    placed: list[tuple[float, float, float]] = []
    for _ in range(400):
        x, y, radius = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(150, 430)
        if any(math.dist((x, y), (ox, oy)) < radius + other + 30 for ox, oy, other in placed):
            continue
        placed.append((x, y, radius))
        rim, inside = colours[rng.randrange(3)], colours[rng.randrange(4)]
        shadow = (x + 14 - radius, y + 18 - radius, x + 14 + radius, y + 18 + radius)
        on.glass.ellipse(shadow, fill=(0, 0, 0, 46))
        on.disc(x, y, radius, fill=between(rim, on.palette.top, 0.75))
        on.disc(x, y, radius * 0.86, fill=rim)
        on.disc(x, y, radius * 0.78, fill=between(inside, on.palette.top, 0.2))
        for _ in range(int(radius / 22)):
            angle, far = rng.uniform(0, math.tau), math.sqrt(rng.random()) * radius * 0.6
            bite = rng.uniform(12, radius * 0.13)
            on.disc(x + far * math.cos(angle), y + far * math.sin(angle), bite, fill=colours[rng.randrange(4)])


def _mountains(on: Canvas) -> None:
    """Ridges behind ridges, paler with distance, under a sun."""
    uniform = on.rng.uniform
    on.disc(uniform(0.2, 0.8) * W, uniform(0.2, 0.4) * H, uniform(120, 260), fill=on.accent)
    for layer in range(6):
        share = layer / 5
        # A hill's longest wave is its highest.
        waves = [(uniform(0.5, 1.0) / n, n * uniform(0.8, 1.3), uniform(0, math.tau)) for n in (1, 2, 5, 11)]
        ridge = [
            (at / 160 * W, (0.46 + 0.46 * share) * H - (150 - 70 * share) * summed(waves, at / 160))
            for at in range(161)
        ]
        colour = between(on.palette.bottom, on.colours[2], 0.15 + 0.85 * share)
        on.pen.polygon([*ridge, (W, H), (0, H)], fill=colour)


def _leaves(on: Canvas) -> None:
    """Stems with pairs of leaves."""
    rng = on.rng
    for stem in range(9):
        x, lean = (stem + rng.random()) / 9 * W, rng.uniform(-0.5, 0.5)
        length, colour = rng.uniform(0.55, 1.05) * H, on.colours[rng.randrange(3)]
        tip = (x + lean * length, H - length)
        on.pen.line([(x, H), tip], fill=colour, width=12)
        up, pairs = math.atan2(tip[1] - H, tip[0] - x), rng.randint(6, 10)
        for pair in range(1, pairs + 1):
            share = pair / (pairs + 0.5)
            foot = (x + (tip[0] - x) * share, H + (tip[1] - H) * share)
            for side in (-1, 1):
                shade = between(colour, on.accent, 0.12 if side > 0 else 0.0)
                on.pen.polygon(_leaf(foot, up + side * 0.8, 330 * (1.15 - share)), fill=shade)


def _leaf(foot: Point, angle: float, size: float) -> list[Point]:
    """Out along one side and back along the other, widest in the middle."""
    x, y = math.cos(angle), math.sin(angle)
    points = []
    for step in range(25):
        forth = min(step, 24 - step) / 12
        bulge = math.copysign(0.24 * math.sin(math.pi * forth), 12 - step)
        points.append((foot[0] + size * (forth * x - bulge * y), foot[1] + size * (forth * y + bulge * x)))
    return points


def _books(on: Canvas) -> None:
    """Two shelves of spines."""
    rng, pen, top = on.rng, on.pen, on.palette.top
    for floor in (0.49 * H, 0.99 * H):
        x = rng.uniform(20, 90)
        while x < W - 90:
            width, height = rng.uniform(60, 150), rng.uniform(0.28, 0.4) * H
            colour = between(on.colours[rng.randrange(4)], top, rng.uniform(0, 0.25))
            lean = rng.choice((0, 0, 0, 0, 0, 70))
            left, right = x, x + width
            pen.polygon(
                [(left, floor), (left + lean, floor - height), (right + lean, floor - height), (right, floor)],
                fill=colour,
            )
            if not lean:
                for share in (0.14, 0.2, 0.82):
                    y = floor - height * (1 - share)
                    on.glass.rectangle((left, y, right, y + 10), fill=clear(top, 170))
            x += width + lean + rng.choice((6, 6, 6, 10, 90))
        pen.rectangle((0, floor, W, floor + 34), fill=on.colours[2])


def _sound(on: Canvas) -> None:
    """The bars of a sound, mirrored at the middle."""
    bars, waves = 56, on.wave()
    width = W / bars
    for bar in range(bars):
        at = (bar + 0.5) / bars
        height = (0.04 + 0.36 * min(1.0, abs(summed(waves, at)) / 2.2) * math.sin(math.pi * at) ** 0.5) * H
        colour = on.accent if on.rng.random() < 0.12 else between(on.colours[0], on.colours[2], at)
        left = (bar + 0.2) * width
        box = (left, H / 2 - height, left + width * 0.6, H / 2 + height)
        on.pen.rounded_rectangle(box, width * 0.3, fill=colour)


def _night_sky(on: Canvas) -> None:
    """Stars, a banded planet, its moons on their orbits."""
    rng, uniform = on.rng, on.rng.uniform
    on.glass.rectangle((0, 0, W, H), fill=clear(between(on.colours[2], _NIGHT, 0.6), 235))
    star = between(on.accent, _WHITE, 0.7)
    for _ in range(420):
        on.disc(uniform(0, W), uniform(0, H), rng.choice((2, 3, 3, 4, 7)), fill=star)
    x, y = uniform(0.3, 0.7) * W, uniform(0.4, 0.6) * H
    for orbit in range(4):
        far, near, angle = 420 + 240 * orbit, 0.42 * (420 + 240 * orbit), uniform(0, math.tau)
        on.glass.ellipse((x - far, y - near, x + far, y + near), outline=clear(on.accent, 90), width=5)
        moon = (x + far * math.cos(angle), y + near * math.sin(angle))
        on.disc(*moon, uniform(26, 80), fill=on.colours[(orbit + 1) % 4])
    on.disc(x, y, 250, fill=on.accent)
    for band in range(-2, 3):
        half, middle = math.sqrt(250**2 - (75 * band) ** 2) - 6, y + 75 * band
        box = (x - half, middle - 12, x + half, middle + 12)
        on.glass.rounded_rectangle(box, 12, fill=clear(on.colours[0], 120))


def _tiles(on: Canvas) -> None:
    """A quilt of quarter discs, rings, bars, triangles and half discs."""
    across, down = 8, 5
    size = W / across
    inks = (*on.colours, on.palette.top, on.palette.bottom)
    for row in range(down):
        for column in range(across):
            _tile(on, (column * size, row * size - 0.11 * H), size, on.rng.sample(inks, 2))


def _tile(on: Canvas, at: Point, size: float, inks: list[Colour]) -> None:
    pen, rng = on.pen, on.rng
    (x, y), (ground, ink) = at, inks
    pen.rectangle((x, y, x + size, y + size), fill=ground)
    kind = rng.randrange(5)
    if kind == 0:
        corner = rng.randrange(4)  # clockwise from the upper left
        cx, cy = x + size * (corner in (1, 2)), y + size * (corner in (2, 3))
        pen.pieslice((cx - size, cy - size, cx + size, cy + size), corner * 90, corner * 90 + 90, fill=ink)
    elif kind == 1:
        on.disc(x + size / 2, y + size / 2, size * 0.36, fill=ink)
        on.disc(x + size / 2, y + size / 2, size * 0.16, fill=ground)
    elif kind == 2:
        for bar in range(4):
            pen.rectangle((x + bar * size / 4, y, x + (bar + 0.5) * size / 4, y + size), fill=ink)
    elif kind == 3:
        pen.polygon([(x, y), (x + size, y + size), (x, y + size)], fill=ink)
    else:
        pen.pieslice((x, y - size / 2, x + size, y + size / 2), 0, 180, fill=ink)
        pen.pieslice((x, y + size / 2, x + size, y + size * 1.5), 180, 360, fill=ink)


def _sea(on: Canvas) -> None:
    """A low sun, its track on the water, and waves that grow towards the shore."""
    uniform = on.rng.uniform
    x = uniform(0.3, 0.7) * W
    on.disc(x, 0.42 * H, uniform(220, 320), fill=on.accent)
    for row in range(11):
        share = row / 10
        y, phase = (0.45 + 0.6 * share**1.3) * H, uniform(0, math.tau)
        lift, length = 14 + 50 * share, 260 + 620 * share
        crest = [(at, y + lift * math.sin(math.tau * at / length + phase)) for at in range(0, W + 40, 40)]
        colour = between(on.colours[0], on.colours[2], share)
        on.pen.polygon([*crest, (W + 40, H), (0, H)], fill=colour)
        if row < 7:
            width = 240 - 20 * row + uniform(-30, 60)
            box = (x - width, y + 40, x + width, y + 52 + 2 * row)
            on.glass.rounded_rectangle(box, 8, fill=clear(on.accent, 150))


def _houses(on: Canvas) -> None:
    """Three rows of houses, some windows lit."""
    rng, pen = on.rng, on.pen
    colours = (between(on.palette.bottom, on.colours[0], 0.6), on.colours[1], on.colours[2])
    for row, colour in enumerate(colours):
        x = -rng.uniform(0, 120)
        while x < W:
            width = rng.uniform(130, 300)
            height = rng.uniform(0.2, 0.5 - 0.06 * row) * H + (2 - row) * 150
            top = H - height
            pen.rectangle((x, top, x + width, H), fill=colour)
            if rng.random() < 0.25:
                pen.polygon([(x, top), (x + width / 2, top - width / 2), (x + width, top)], fill=colour)
            windows = [(a, b) for b in range(int(height // 90)) for a in range(int(width // 60))] if row else []
            for across, below in windows:
                if rng.random() < 0.3:
                    left, upper = x + 24 + across * 60, top + 34 + below * 90
                    pen.rectangle((left, upper, left + 22, upper + 38), fill=on.accent)
            x += width + rng.uniform(0, 60)


# In the order of the seed's themes, each with what suits it.
MOTIFS: tuple[Callable[[Canvas], None], ...] = (
    _code,
    _blocks,
    _network,
    _plates,
    _mountains,
    _leaves,
    _books,
    _sound,
    _night_sky,
    _tiles,
    _sea,
    _houses,
)


def draw(motif: int, variant: int) -> Image.Image:
    """A picture of WIDTH × HEIGHT pixels (RGB); ``motif`` is a place in MOTIFS, ``variant`` any number."""
    rng = random.Random(f"{motif}/{variant}")
    palette = PALETTES[(variant + motif) % len(PALETTES)]
    slope = Image.linear_gradient("L").resize((1, H), Image.Resampling.BICUBIC)
    canvas = ImageOps.colorize(slope, palette.top, palette.bottom).resize((W, H), Image.Resampling.NEAREST)
    MOTIFS[motif](Canvas(canvas, rng, palette))
    # Grains of two pixels: of one, they would be gone in the smaller sizes.
    grain = Image.frombytes("L", (WIDTH // 2, HEIGHT // 2), rng.randbytes(WIDTH * HEIGHT // 4))
    grain = grain.point([128 + (level * (2 * _GRAIN + 1) >> 8) - _GRAIN for level in range(256)])
    grain = grain.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return ImageChops.add(canvas.reduce(SCALE), Image.merge("RGB", (grain, grain, grain)), 1, -128)
