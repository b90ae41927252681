"""A cover's three WebP files from an upload: upright, opaque, in sRGB, and without metadata.

A change of what comes out of here (sizes, quality, format) changes ``media_names.RECIPE`` with it. The decision, the
limits and the figures are in ``docs/decisions/0006-images.md``.
"""

import pyvips

from conduit.image_structure import Image, refusal
from conduit.media_names import SIZES

# Effort 3 and more takes three times the CPU for files 3 to 4 % smaller.
_QUALITY = 80
_EFFORT = 1
# A cover taller than twice its width is shown cut off, and would be large in bytes however narrow.
_TALLEST = 2
# What libvips holds beside the result while it decodes, in rows of the decoded image: more for an alpha channel and for
# CMYK, which are calculated with; fewer of 16 bits, and fewer where the decoder holds the image whole. A flat image is
# held up to 2.5 times. All are measured upper bounds: ``docs/runs/images/memory.json``.
_ROWS, _ROWS_OF_FOUR, _ROWS_OF_16_BITS = 1_700, 2_100, 1_500
_ROWS_WHEN_WHOLE = 0.9
_COPIES = 2.5
# Bytes for each pixel of the large file: its colours, what WebP's decoder holds to scale it, and its encoder.
_COLOURS, _WEBP, _WEBP_LOSSLESS, _ENCODER = 3, 11, 6, 9
_FIXED_BYTES = 6 << 20


def fitted(width: int, height: int, size: str) -> tuple[int, int]:
    """Width and height of an upright image in a size: in proportion, and never enlarged."""
    widest = SIZES[size]
    scale = min(1.0, widest / width, widest * _TALLEST / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def covers(image: Image) -> dict[str, bytes]:
    """The WebP files by size. Raises ImageError for damage that only decoding shows, and UnavailableError."""
    try:
        picture = _decoded(image)
        files: dict[str, bytes] = {}
        for size in sorted(SIZES, key=lambda name: -SIZES[name]):
            picture = _resized(picture, fitted(*image.upright, size))
            files[size] = picture.webpsave_buffer(Q=_QUALITY, effort=_EFFORT, keep="none")
    except pyvips.Error as error:
        raise refusal(error) from error
    return files


def needed_bytes(image: Image) -> int:
    """The most memory that making the covers takes at once, beside the upload. Decoding ends before encoding begins."""
    width, height = fitted(*image.upright, "large")
    pixels = width * height
    if image.kind == "webp":
        lossless = image.whole_bytes >= 4 * image.width * image.height
        decoding = pixels * (_WEBP_LOSSLESS if lossless else _WEBP)
    else:
        decoding = pixels * _COLOURS + _strip_bytes(image, max(width, height))
    return max(image.whole_bytes + decoding, pixels * _ENCODER) + _FIXED_BYTES


def _strip_bytes(image: Image, longest: int) -> int:
    """What libvips holds of a PNG or a JPEG that it decodes in strips. ``longest`` is the large file's longer side."""
    rows: float = _ROWS_OF_16_BITS if image.depth == 2 else _ROWS_OF_FOUR if image.bands in (2, 4) else _ROWS
    if image.kind == "png" and image.whole_bytes:
        rows *= _ROWS_WHEN_WHOLE
    width = image.width
    if image.kind == "jpeg":
        # The decoder halves the image as often as that leaves it twice as large as the large file.
        shrink = max(image.width, image.height) / longest
        width //= 8 if shrink >= 16 else 4 if shrink >= 8 else 2 if shrink >= 4 else 1
    return int(min(rows, image.height * _COPIES) * width * image.bands * image.depth)


def _decoded(image: Image) -> pyvips.Image:
    """The pixels in the largest size, in memory."""
    width, height = fitted(*image.upright, "large")
    if image.orientation >= 5:
        width, height = height, width
    # Without a profile there is nothing to convert, but naming one would more than double the CPU.
    colours = {"output_profile": "srgb"} if image.has_profile else {}
    # For a buffer, thumbnail's own argument fail_on is ignored. It has to be an option of the loader.
    picture = pyvips.Image.thumbnail_buffer(
        image.data, width, height=height, size="force", option_string="[fail_on=error]", **colours
    )
    if picture.hasalpha():
        picture = picture.flatten(background=255)
    picture = picture.copy_memory()
    if image.orientation == 1:
        return picture
    picture = picture.copy()
    picture.set_type(pyvips.GValue.gint_type, "orientation", image.orientation)
    return picture.autorot().copy_memory()


def _resized(picture: pyvips.Image, size: tuple[int, int]) -> pyvips.Image:
    if size == (picture.width, picture.height):
        return picture
    return picture.thumbnail_image(size[0], height=size[1], size="force").copy_memory()
