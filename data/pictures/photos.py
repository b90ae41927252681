"""Photographs to upload, as a phone takes them: JPEG of 2 to 8 megapixels, some turned by their EXIF orientation."""

import io
import random
from typing import NamedTuple

from PIL import ExifTags, Image, ImageChops, ImageFilter, ImageOps

from data.pictures import motifs

_MAKER = "drawn by the load generator"


class _Shot(NamedTuple):
    """Size in pixels, JPEG quality, how much the sensor adds in levels of brightness (it is what makes a photograph's
    file heavy), what is seen, and EXIF orientation (1 as seen, 6 with the camera upright).
    """

    width: int
    height: int
    quality: int
    noise: int
    motif: int
    orientation: int


# What phones send: scaled down by the app that shares it, or nearly as large as the app here takes.
_SHOTS = (
    _Shot(1600, 1200, 85, 8, 4, 1),
    _Shot(2048, 1536, 85, 10, 10, 6),
    _Shot(2048, 1536, 90, 10, 5, 1),
    _Shot(2592, 1944, 85, 14, 11, 1),
    _Shot(3264, 2448, 82, 16, 4, 6),
)
_UPRIGHT = 6
_START_OF_IMAGE = b"\xff\xd8"
_COMMENT = b"\xff\xfe"


def photos() -> list[bytes]:
    """A handful of JPEGs of some 300 kB to 2 MB, the same every time. Takes a second or two of CPU."""
    return [_taken(number, shot) for number, shot in enumerate(_SHOTS)]


def another(photo: bytes, rng: random.Random) -> bytes:
    """The same picture as another file: with a comment of its own, so that no upload is content that the app knows."""
    comment = rng.randbytes(16).hex().encode()
    return _START_OF_IMAGE + _COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]


def _taken(number: int, shot: _Shot) -> bytes:
    rng, size, upright = random.Random(number), (shot.width, shot.height), shot.orientation == _UPRIGHT
    seen = motifs.draw(shot.motif, number)
    if upright:
        # What a sensor held upright sees lies on its side, to the left.
        seen = ImageOps.fit(seen, (shot.height, shot.width)).transpose(Image.Transpose.ROTATE_90)
    scene = ImageOps.fit(seen, size).filter(ImageFilter.GaussianBlur(2))
    noise = Image.frombytes("L", size, rng.randbytes(shot.width * shot.height))
    noise = noise.point([128 + (level * (2 * shot.noise + 1) >> 8) - shot.noise for level in range(256)])
    scene = ImageChops.add(scene, Image.merge("RGB", (noise, noise, noise)), 1, -128)
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = _MAKER
    exif[ExifTags.Base.Orientation] = shot.orientation
    out = io.BytesIO()
    scene.save(out, "JPEG", quality=shot.quality, exif=exif)
    return out.getvalue()
