"""What motifs are drawn with: sizes, palettes, and a canvas with its pens."""

import math
import random
from typing import NamedTuple

from PIL import Image, ImageDraw

# Of a picture, in pixels; W and H are those of the canvas that it is drawn on.
WIDTH, HEIGHT = 1600, 900
# Of what is drawn to what is seen: reduced, edges are smooth that Pillow draws hard.
SCALE = 2
W, H = WIDTH * SCALE, HEIGHT * SCALE

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Palette(NamedTuple):
    """The two ends of a background and four colours that go with it, the last one an accent."""

    top: Colour
    bottom: Colour
    colours: tuple[Colour, Colour, Colour, Colour]


def _palette(*hexes: str) -> Palette:
    top, bottom, *rest = ((int(one[:2], 16), int(one[2:4], 16), int(one[4:], 16)) for one in hexes)
    return Palette(top, bottom, (rest[0], rest[1], rest[2], rest[3]))


PALETTES = (
    _palette("fde2c4", "f6a77b", "d9684f", "9c3d54", "4a2545", "ffd166"),
    _palette("cfe8ef", "8fbcd4", "4f86ab", "2c5a85", "1b2f55", "ffb454"),
    _palette("1b2440", "3d3a6b", "5f4b8b", "8f5e99", "c987a4", "ffd97d"),
    _palette("eaf3d9", "b9d3a0", "7ba368", "47764d", "22463b", "f28f5b"),
    _palette("f7ede2", "f5cac3", "84a59d", "4f7a78", "33485c", "f28482"),
    _palette("0f2d3a", "16535a", "2b7f75", "62ad8b", "b9dba0", "ffc857"),
)


class Canvas:
    """What the motifs draw on: Pillow's pen, the random numbers and the colours of one picture.

    ``glass`` is the pen for what shines through: it blends every pixel, which takes several times as long.
    """

    def __init__(self, image: Image.Image, rng: random.Random, palette: Palette) -> None:
        self.pen = ImageDraw.Draw(image)
        self.glass = ImageDraw.Draw(image, "RGBA")
        self.rng = rng
        self.palette = palette
        self.colours = palette.colours
        self.accent = palette.colours[3]

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A disc by its middle."""
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def wave(self) -> list[tuple[float, float, float]]:
        """Four waves of random heights, frequencies and phases, to be summed."""
        uniform = self.rng.uniform
        return [(uniform(0.4, 1), uniform(1, 6), uniform(0, math.tau)) for _ in range(4)]


def between(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that lies a ``share`` (0 to 1) of the way from one to another."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(one, other, strict=True))
    return r, g, b


def clear(colour: Colour, alpha: int) -> tuple[int, int, int, int]:
    """The colour with an opacity of 0 to 255, for a canvas's ``glass``."""
    return (*colour, alpha)


def summed(waves: list[tuple[float, float, float]], at: float) -> float:
    """The sum of waves, each of (height, frequency, phase), at a share (0 to 1) of the way across."""
    return sum(size * math.sin(math.tau * often * at + phase) for size, often, phase in waves)
