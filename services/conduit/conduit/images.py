"""Makes a cover's three WebP files from an upload: upright, opaque, in sRGB, and without metadata.

If the files change (sizes, quality, format), change ``media_names.RECIPE`` too. The decision, the limits and the
figures are in ``docs/decisions/0006-images.md``.
"""

import pyvips

from conduit.image_structure import Image, refusal
from conduit.media_names import SIZES

# Effort 3 and more takes three times the CPU for files 3 to 4 % smaller.
_QUALITY = 80
_EFFORT = 1
# A cover taller than twice its width is shown cut off, and would be large in bytes however narrow.
_TALLEST = 2
# Memory for each pixel of the large file, encoder included, and for the strips that are being decoded. Both measured.
_BYTES_PER_PIXEL = 12
_BYTES_AT_LEAST = 12 << 20


def fitted(width: int, height: int, size: str) -> tuple[int, int]:
    """Width and height of an upright image scaled to a size; never enlarged."""
    widest = SIZES[size]
    scale = min(1.0, widest / width, widest * _TALLEST / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def covers(image: Image) -> dict[str, bytes]:
    """The WebP files by size. Raises ImageError for damage that only decoding finds, and UnavailableError."""
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
    """The peak memory of making the covers, in bytes, estimated from measurements."""
    width, height = fitted(*image.upright, "large")
    return image.whole_bytes + width * height * _BYTES_PER_PIXEL + _BYTES_AT_LEAST


def _decoded(image: Image) -> pyvips.Image:
    """The pixels in the largest size, in memory."""
    width, height = fitted(*image.upright, "large")
    if image.orientation >= 5:
        width, height = height, width
    # Without a profile there is nothing to convert, but setting output_profile would more than double the CPU.
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
