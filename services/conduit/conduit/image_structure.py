"""An upload's format and size from its header, before its pixels are decoded and memory is allocated for them.

libvips reads the header. It gets only the parts that the pixels need, because the other parts can be dangerous:

- EXIF: libexif, which libvips always calls, takes 28 s for one block of 64 KB whose directories refer to each other.
  The orientation, the only value of use, is read here instead.
- Compressed texts in a PNG: libpng inflates 8 MB at a time for them.
- Scans of a JPEG: each goes through the whole image again, and libvips does not limit their number.

The measurements are in ``docs/decisions/0006-images.md``.
"""

import ctypes
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

import pyvips
from pyvips.voperation import concurrency_set

from conduit.errors import InvalidError, UnavailableError

log = logging.getLogger(__name__)

MAX_PIXELS = 8_000_000
# WebP, the format of covers, has 14 bits for a side.
MAX_SIDE = 16_383

# Encoders write about ten scans.
_MAX_SCANS = 100
# More parts than any encoder writes. It bounds the time to parse a file of 5 MB.
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


# From glibc's malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def _set_up_libvips() -> None:
    """Only the three decoders, one thread, and no cache: the box has one core and little memory."""
    # Pixels are allocated in one thread and freed in another. By default each thread's arena keeps what it freed, and
    # 36 covers took a process from 30 to 364 MB (``docs/decisions/0006-images.md``). So there is one arena, and
    # large blocks go back to the system.
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADED:
        pyvips.operation_block_set(loader, False)
    concurrency_set(1)
    pyvips.cache_set_max(0)
    # pyvips logs a warning about every oddity of a file. Errors are raised.
    logging.getLogger("pyvips").setLevel(logging.ERROR)


_set_up_libvips()


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
UNSUPPORTED_JPEG = "is a JPEG of a rare kind; only baseline and progressive ones of 8 bits can be read"


class Image(NamedTuple):
    """A still image. ``data`` is the file without metadata, but with its colour profile."""

    kind: str  # "png", "jpeg" or "webp"
    width: int
    height: int
    data: bytes
    # 1 to 8, as in EXIF: 1 is upright, 5 and up lie on their side.
    orientation: int = 1
    # Bytes that the decoder allocates for the whole image; 0 for most images, which are decoded in strips.
    whole_bytes: int = 0
    has_profile: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as the image is shown."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect(upload: bytes) -> Image:
    """Parse an upload. Raises ImageError with the reason why it can't be a cover, and UnavailableError."""
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
    try:
        header = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise refusal(error) from error
    width, height = header.width, header.height
    if width * height > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    if max(width, height) > MAX_SIDE:
        raise ImageError(TOO_LONG)
    profile = "icc-profile-data" in header.get_fields()
    return Image(kind, width, height, data, _orientation(exif), _whole_bytes(kind, header, data), profile)


def refusal(error: pyvips.Error) -> ImageError | UnavailableError:
    """The app's error for an error of libvips. Only its text tells the causes apart."""
    text = str(error).lower()
    log.info("an upload can't be decoded", extra={"cause": text})
    if "out of memory" in text or "unable to allocate" in text:
        return UnavailableError("memory for an image of this size")
    if "unsupported jpeg" in text or "unsupported color" in text:
        return ImageError(UNSUPPORTED_JPEG)
    return ImageError(DAMAGED)


def _whole_bytes(kind: str, header: pyvips.Image, data: bytes) -> int:
    pixels, bands, fields = header.width * header.height, int(header.bands), header.get_fields()
    whole = 0
    if kind == "jpeg" and "interlaced" in fields:
        # Coefficients of two bytes. Subsampled colours have at most half of them.
        subsampled = bands == 3 and header.get("jpeg-chroma-subsample") != "4:4:4"
        whole = 2 * pixels * (2 if subsampled else bands)
    elif kind == "png" and "interlaced" in fields:
        whole = pixels * bands * (2 if header.format == "ushort" else 1)
    elif kind == "webp":
        whole = pixels * (4 if b"VP8L" in data else 1 if bands == 4 else 0)
    return whole


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
    """Name, start and end of each chunk of a PNG ("big") or a WebP ("little"). ``around`` is a chunk's overhead."""
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
