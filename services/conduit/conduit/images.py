"""A cover's three files from an upload, with Pillow: turned upright, resized, and nothing kept but the pixels.

Whoever changes what comes out of here (sizes, quality, format) changes ``media_names.RECIPE`` with it.

The box has 256 MB, at stage 1 shared with PostgreSQL. An image of 8 megapixels takes 32 of them, so it is never copied
at its full size: JPEG and WebP are decoded at about the size that is needed, and a PNG is narrowed a band of rows at a
time.
"""

import io
import logging
from collections.abc import Callable

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
_BAND_ROWS = 128

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
    on_its_side = image.orientation >= 5
    width, height = (image.height, image.width) if on_its_side else (image.width, image.height)
    largest = fitted(width, height, "large")
    picture = _decoded(image, largest[::-1] if on_its_side else largest)
    if image.orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[image.orientation])
    files: dict[str, bytes] = {}
    for size in sorted(SIZES, key=lambda name: -SIZES[name]):
        picture = _resized(picture, fitted(width, height, size))
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=_QUALITY, method=_METHOD)
        files[size] = out.getvalue()
    return files


def _decoded(image: Image, size: tuple[int, int]) -> Pillow.Image:
    """The pixels in ``size``, as RGB, or as RGBA where some of them are transparent."""
    try:
        picture = _pixels(image, size)
    except MemoryError as error:
        raise UnavailableError("memory for an image of this size") from error
    except Exception as error:
        # Decoders raise a dozen kinds, and all of them say the same: it is not what its head promised.
        log.info("an upload can't be decoded", extra={"cause": f"{image.kind}: {error!r}"})
        raise ImageError(TRUNCATED if "truncated" in str(error) else DAMAGED) from error
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    picture = _narrowed(picture, size[0], mode) if picture.width > size[0] else picture.convert(mode)
    picture = _resized(picture, size)
    if mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        return picture.convert("RGB")
    return picture


def _pixels(image: Image, size: tuple[int, int]) -> Pillow.Image:
    if image.kind == "webp":
        own_size = (image.width, image.height)
        picture = webp.decode(image.data, own_size if image.transparent and not image.lossless else size)
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


def _narrowed(picture: Pillow.Image, width: int, mode: str) -> Pillow.Image:
    """The picture narrowed to ``width``, in ``mode``; columns first, as resizing goes, but a band of rows at a time."""
    # Colours weigh as much as they are opaque, or transparent pixels would shine through at the edges.
    weighed = "RGBa" if mode == "RGBA" else mode
    narrow = Pillow.new(weighed, (width, picture.height))
    for top in range(0, picture.height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, picture.height)
        band = picture.crop((0, top, picture.width, bottom)).convert(mode).convert(weighed)
        narrow.paste(band.resize((width, bottom - top), Pillow.Resampling.LANCZOS), (0, top))
    return narrow


def _resized(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    if picture.size != size:
        picture = picture.resize(size, Pillow.Resampling.LANCZOS)
    return picture.convert("RGBA") if picture.mode == "RGBa" else picture
