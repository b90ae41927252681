"""A cover's three files from an upload, with Pillow: turned upright, resized, and nothing kept but the pixels.

Whoever changes what comes out of here (sizes, quality, format) changes ``media_names.RECIPE`` with it.

The box has 256 MB, at stage 1 shared with PostgreSQL. An image of 8 megapixels takes 32 of them, so it is never copied
at its full size: JPEG and WebP are decoded at about the size that is needed, and a PNG is shrunk a band of rows at a
time.
"""

import io
import logging
from collections.abc import Callable
from math import ceil, floor

from PIL import Image as Pillow
from PIL import ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from conduit import webp
from conduit.errors import UnavailableError
from conduit.image_structure import DAMAGED, TRUNCATED, Image, ImageError
from conduit.media_names import SIZES

log = logging.getLogger(__name__)

# The library's own choice is method 4: three times the CPU of method 1, measured on the seed's pictures, for drawings
# 8 % smaller and photographs 5 % larger.
_QUALITY = 80
_METHOD = 1
# A cover taller than twice its width would be shown cut off anyway, and would be large in bytes however narrow.
_TALLEST = 2
_BAND_ROWS = 64
# Measured: of a pixel that is written, with the image that it is of.
_WRITING_BYTES_PER_PIXEL = 12

_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
# The classes themselves: Image.open would try, and load, every other format that Pillow knows.
_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}


def fitted(width: int, height: int, size: str) -> tuple[int, int]:
    """Width and height of an upright image in a size: its shape kept, never larger than it is."""
    widest = SIZES[size]
    scale = min(1.0, widest / width, widest * _TALLEST / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def covers(image: Image) -> dict[str, bytes]:
    """The WebP files by size. Raises ImageError for what turns out to be damaged or truncated on decoding."""
    picture = _decoded(image, _fitted_as_it_lies(image))
    if image.orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[image.orientation])
    files: dict[str, bytes] = {}
    for size in sorted(SIZES, key=lambda name: -SIZES[name]):
        picture = _resized(picture, fitted(*image.upright, size))
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=_QUALITY, method=_METHOD)
        files[size] = out.getvalue()
    return files


def needed_bytes(image: Image) -> int:
    """About the most memory that making its covers takes at once: its pixels as they are decoded, or writing."""
    largest = _fitted_as_it_lies(image)
    writing = largest[0] * largest[1] * _WRITING_BYTES_PER_PIXEL
    width, height = _decoded_size(image, largest)
    return max(width * height * image.pixel_bytes + image.whole_bytes + writing // 2, writing)


def _fitted_as_it_lies(image: Image) -> tuple[int, int]:
    largest = fitted(*image.upright, "large")
    return largest if image.upright == (image.width, image.height) else largest[::-1]


def _decoded_size(image: Image, size: tuple[int, int]) -> tuple[int, int]:
    """What the decoder makes of it for ``size``: JPEG is halved up to three times, WebP scaled, PNG neither."""
    if image.kind == "webp" and (image.lossless or not image.transparent):
        return size
    if image.kind == "jpeg":
        scale = min(image.width // size[0], image.height // size[1])
        halved = next(divisor for divisor in (8, 4, 2, 1) if scale >= divisor)
        return -(-image.width // halved), -(-image.height // halved)
    return image.width, image.height


def _decoded(image: Image, size: tuple[int, int]) -> Pillow.Image:
    """The pixels in ``size``, as RGB."""
    try:
        picture = _pixels(image, size)
    except MemoryError as error:
        raise UnavailableError("memory for an image of this size") from error
    except Exception as error:
        # Decoders raise a dozen kinds, and all of them say the same: it is not what its head promised.
        log.info("an upload can't be decoded", extra={"cause": f"{image.kind}: {error!r}"})
        raise ImageError(TRUNCATED if "truncated" in str(error) else DAMAGED) from error
    return _opaque(picture) if picture.size == size else _shrunk(picture, size)


def _pixels(image: Image, size: tuple[int, int]) -> Pillow.Image:
    if image.kind == "webp":
        picture = webp.decode(image.data, _decoded_size(image, size))
        if picture is not None:
            return picture
    file = _DECODERS[image.kind](io.BytesIO(image.data))
    if file.size != (image.width, image.height):
        raise ValueError(f"{file.size} instead of {(image.width, image.height)}")
    file.draft("RGB", size)
    file.load()
    if file.mode == "I;16":
        # Pillow would cut off what is above 255. One transparent grey of 65,536 is not worth keeping.
        file.info.pop("transparency", None)
        return file.point(lambda grey: grey * (1 / 257)).convert("L")
    return file


def _opaque(picture: Pillow.Image) -> Pillow.Image:
    """On white, where it is transparent: to write transparency takes WebP three to five times the memory."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode != "RGBA":
        picture = picture.convert("RGBA")
    opaque = Pillow.new("RGB", picture.size, "white")
    opaque.paste(picture, mask=picture)
    return opaque


def _shrunk(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """The picture in ``size``, as if made opaque and resized at once, but only a band of rows is copied at a time."""
    width, height = size
    shrunk = Pillow.new("RGB", size)
    scale = picture.height / height
    # What the filter looks at beyond the rows that it makes: three output rows' worth on each side.
    margin = ceil(3 * max(1.0, scale)) + 1
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        first = max(0, floor(top * scale) - margin)
        last = min(picture.height, ceil(bottom * scale) + margin)
        band = _opaque(picture.crop((0, first, picture.width, last)))
        rows = (0, top * scale - first, picture.width, min(bottom * scale - first, band.height))
        shrunk.paste(band.resize((width, bottom - top), Pillow.Resampling.LANCZOS, rows), (0, top))
    return shrunk


def _resized(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    return picture if picture.size == size else picture.resize(size, Pillow.Resampling.LANCZOS)
