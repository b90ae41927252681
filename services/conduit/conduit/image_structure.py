"""What an upload is, from its header: before pixels are decoded, and before memory is taken for them.

libvips reads the header. It is given only the parts that the pixels need, because what may surround them is dangerous:

- EXIF: libexif, which libvips always calls, takes 28 s for one block of 60 KB whose directories refer to each other.
  The orientation, the only value of use, is read here instead.
- Compressed texts in a PNG: libpng inflates 8 MB at a time for them.
- Scans of a JPEG: each goes through the whole image again, and libvips does not limit their number.

The measurements are in ``docs/decisions/0006-images.md``.
"""

import logging
import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Literal, NamedTuple

import pyvips
from pyvips.voperation import concurrency_set

from conduit.errors import InvalidError, UnavailableError

log = logging.getLogger(__name__)

MAX_PIXELS = 24_000_000
# WebP, the format of covers, has 14 bits for a side.
MAX_SIDE = 16_383

# Programs write about ten scans.
_MAX_SCANS = 100
# More parts than any program writes. It keeps the walk through a file of 5 MB short.
_MAX_PARTS = 50_000

_PNG, _JPEG, _RIFF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"WEBP"
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"))
_WEBP_KEPT = frozenset((b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"))
_WEBP_METADATA_FLAGS = 0x0C
# Pixels never look like a marker: an FF among them is followed by 00. The length of a scan's header depends on the
# number of its components, so a match elsewhere in the file is very unlikely.
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_JPEG_EXIF = re.compile(rb"(\xff\xe1..)Exif", re.DOTALL)
_EXIF = b"Exif\0\0"
_MAX_EXIF_ENTRIES = 200
_LOADED = "VipsForeignLoadPng", "VipsForeignLoadJpeg", "VipsForeignLoadWebp"


@cache
def _limit_libvips() -> None:
    """Only the three decoders, one thread, and no cache: the box has one core and little memory.

    Called at the first use. Two threads that come first at once set the same values.
    """
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADED:
        pyvips.operation_block_set(loader, False)
    concurrency_set(1)
    pyvips.cache_set_max(0)
    # It warns about every oddity of a file. Errors are raised.
    logging.getLogger("pyvips").setLevel(logging.ERROR)


class ImageError(InvalidError):
    """422: not an image that can be a cover; ``reason`` completes "The cover …"."""

    def __init__(self, reason: str) -> None:
        super().__init__({"cover": [reason]})
        self.reason = reason


EMPTY = "is empty"
NOT_AN_IMAGE = "is not a PNG, JPEG or WebP image"
TRUNCATED = "is truncated"
DAMAGED = "is damaged"
ANIMATED = "is animated"
TOO_MANY_PIXELS = f"has more than {MAX_PIXELS // 1_000_000} megapixels"
TOO_LONG = f"is more than {MAX_SIDE} pixels wide or high"
TOO_MUCH_MEMORY = "takes more memory to decode than this server has; as an ordinary JPEG it would take less"
UNSUPPORTED_JPEG = "is a JPEG of a rare kind; only baseline and progressive ones of 8 bits can be read"


class Image(NamedTuple):
    """A still image. ``data`` is the file without metadata, but with its colour profile."""

    kind: str  # "png", "jpeg" or "webp"
    width: int
    height: int
    data: bytes
    # 1 to 8, as in EXIF: 1 is upright, 5 and up lie on their side.
    orientation: int = 1
    # What the decoder holds of the whole image at once, in bytes. Most are decoded in strips: 0.
    whole_bytes: int = 0
    has_profile: bool = False
    # Of a decoded pixel: its bands, with alpha, and the bytes of each.
    bands: int = 3
    depth: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as the image is shown."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect(upload: bytes) -> Image:
    """The image in these bytes. Raises ImageError with the reason why there is none, and UnavailableError."""
    if not upload:
        raise ImageError(EMPTY)
    if upload.startswith(_PNG):
        kind, data, exif = "png", *_png(upload)
    elif upload.startswith(_JPEG):
        kind, data, exif = "jpeg", *_jpeg(upload)
    elif upload.startswith(_RIFF) and upload[8:12] == _WEBP:
        kind, data, exif = "webp", *_webp(upload)
    elif any(start.startswith(upload[:12]) for start in (_PNG, _JPEG, _RIFF + upload[4:8] + _WEBP)):
        raise ImageError(TRUNCATED)
    else:
        raise ImageError(NOT_AN_IMAGE)
    _limit_libvips()
    try:
        header = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise refusal(error) from error
    width, height = header.width, header.height
    if width * height > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    if max(width, height) > MAX_SIDE:
        raise ImageError(TOO_LONG)
    fields = header.get_fields()
    depth = 2 if header.format == "ushort" else 1
    return Image(
        kind,
        width,
        height,
        data,
        orientation=_orientation(exif),
        whole_bytes=_whole_bytes(kind, data, (width, height, header.bands, depth), interlaced="interlaced" in fields),
        has_profile="icc-profile-data" in fields,
        bands=header.bands,
        depth=depth,
    )


def refusal(error: pyvips.Error) -> ImageError | UnavailableError:
    """The app's error for one of libvips', whose text is all that tells the causes apart."""
    text = str(error).lower()
    log.info("an upload can't be decoded", extra={"cause": text})
    if "out of memory" in text or "unable to allocate" in text:
        return UnavailableError("memory for an image of this size")
    if "unsupported jpeg" in text or "unsupported color" in text:
        return ImageError(UNSUPPORTED_JPEG)
    return ImageError(DAMAGED)


def _whole_bytes(kind: str, data: bytes, size: tuple[int, int, int, int], *, interlaced: bool) -> int:
    width, height, bands, depth = size
    pixels = width * height
    if kind == "webp":
        # Lossless colours; or an alpha channel, which takes up to twice its size (measured).
        return pixels * (4 if b"VP8L" in data else 2 if bands == 4 else 0)
    if not interlaced:
        return 0
    # libpng's rows, and a little more (measured).
    return int(pixels * bands * depth * 1.05) if kind == "png" else _coefficient_bytes(data, width, height, bands)


def _coefficient_bytes(data: bytes, width: int, height: int, bands: int) -> int:
    """What libjpeg holds of a JPEG of several scans: two bytes for each coefficient of each component.

    libvips tells subsampling from the first component alone, so the frame header is read here (ITU-T T.81, A.1.1 and
    B.2.2). Where the file has two that could be it, no component counts as subsampled.
    """
    start = rb"(?=\xff[\xc0-\xcf]..%s)" % re.escape(struct.pack(">BHH", 8, height, width))
    found = [match.start() + 9 for match in islice(re.finditer(start, data, re.DOTALL), 2)]
    factors = [(1, 1)] * bands
    if len(found) == 1:
        components = data[found[0] + 1 : found[0] + 1 + 3 * bands]
        read = [(factor >> 4, factor & 15) for factor in components[1::3]]
        if len(read) == bands and all(1 <= factor <= 4 for pair in read for factor in pair):
            factors = read
    most_across, most_down = (max(factor) for factor in zip(*factors, strict=True))
    across, down = -(-width // (8 * most_across)), -(-height // (8 * most_down))
    return sum(128 * across * down * factor_across * factor_down for factor_across, factor_down in factors)


# The three containers: each function returns the file without metadata, and its EXIF block ----------------------


def _png(upload: bytes) -> tuple[bytes, bytes]:
    """Chunks: https://www.w3.org/TR/png-3/, section 5."""
    kept, exif = [_PNG], b""
    for name, start, end in _parts(upload, 8, "big", 12):
        content, checksum = upload[start + 8 : end - 4], upload[end - 4 : end]
        if end > len(upload):
            break
        if zlib.crc32(content, zlib.crc32(name)) != int.from_bytes(checksum):
            raise ImageError(DAMAGED)
        if name == b"acTL" and int.from_bytes(content[:4]) > 1:
            raise ImageError(ANIMATED)
        if name == b"eXIf":
            exif = content
        if name in _PNG_KEPT:
            kept.append(upload[start:end])
        if name == b"IEND":
            return b"".join(kept), exif
    raise ImageError(TRUNCATED)


def _webp(upload: bytes) -> tuple[bytes, bytes]:
    """Chunks: https://developers.google.com/speed/webp/docs/riff_container."""
    length = int.from_bytes(upload[4:8], "little") + 8
    kept, exif = [_WEBP], b""
    for name, start, end in _parts(upload[:length], 12, "little", 8):
        if name in (b"ANIM", b"ANMF"):
            raise ImageError(ANIMATED)
        if name == b"EXIF":
            exif = upload[start + 8 : end].removeprefix(_EXIF)
        if name in _WEBP_KEPT:
            chunk = bytearray(upload[start:end])
            if name == b"VP8X" and len(chunk) > 8:
                chunk[8] &= ~_WEBP_METADATA_FLAGS
            kept.append(bytes(chunk) + b"\0" * (len(chunk) % 2))
    if len(upload) < length:
        raise ImageError(TRUNCATED)
    body = b"".join(kept)
    return _RIFF + struct.pack("<I", len(body)) + body, exif


def _jpeg(upload: bytes) -> tuple[bytes, bytes]:
    """Segments: ITU-T T.81, annex B."""
    scans = [match.start() for match in _SCAN.finditer(upload)]
    if len(scans) > _MAX_SCANS:
        raise ImageError(DAMAGED)
    if not scans or upload.rfind(b"\xff\xd9") < scans[-1]:
        raise ImageError(TRUNCATED)
    exif = b""
    if found := _JPEG_EXIF.search(upload, 0, scans[0]):
        length = int.from_bytes(upload[found.start() + 2 : found.start() + 4])
        exif = upload[found.start() + 4 : found.start() + 2 + length].removeprefix(_EXIF)
    return _JPEG_EXIF.sub(rb"\1none", upload), exif


def _parts(upload: bytes, at: int, order: Literal["big", "little"], around: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk of a PNG ("big") or a WebP ("little"). ``around`` is what is not content."""
    for _ in range(_MAX_PARTS):
        if at + around > len(upload):
            return
        first, second = upload[at : at + 4], upload[at + 4 : at + 8]
        name, length = (second, first) if order == "big" else (first, second)
        end = at + around + int.from_bytes(length, order)
        yield name, at, end
        at = end + (end - at) % 2 if order == "little" else end
    raise ImageError(DAMAGED)


def _orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first directory of an EXIF block; 1, upright, where there is none.

    It should be a SHORT, but some programs write a LONG. A damaged block is ignored.
    """
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"
    if exif[:2] not in (b"II", b"MM"):
        return 1
    at = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[at : at + 2], order)
    for number in range(min(entries, _MAX_EXIF_ENTRIES)):
        entry = exif[at + 2 + 12 * number :][:12]
        if int.from_bytes(entry[:2], order) == 0x0112:
            length = 4 if int.from_bytes(entry[2:4], order) == 4 else 2
            value = int.from_bytes(entry[8 : 8 + length], order)
            return value if 1 <= value <= 8 else 1
    return 1
