"""What an uploaded image is, read off its structure and without decoding it: milliseconds, and next to no memory.

Every upload goes through here before anything decodes it. Dimensions are known before memory is taken for them, and
what could make a decoder work for minutes (a JPEG of thousands of scans) is refused. Trailing bytes are nobody's
concern: what is published is made anew from the pixels.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from conduit.errors import InvalidError

MAX_PIXELS = 8_000_000
# WebP, which is what covers become, has 14 bits for a side.
MAX_SIDE = 16_383

# Beyond what any program writes, and what keeps the walk through a file of 5 MB short.
_MAX_PNG_CHUNKS = 50_000
_MAX_JPEG_SEGMENTS = 2_000
_MAX_JPEG_SCANS = 100
_MAX_WEBP_CHUNKS = 1_000

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PADDING = re.compile(rb"\xff*(?=\xff)")
# Behind a scan: the next marker that is neither a stuffed FF, a restart nor padding.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_DECODABLE_FRAMES = (0xC0, 0xC1, _PROGRESSIVE)
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS"))
# Applications' segments and comments, but for Adobe's, which says how the colours are meant.
_JPEG_DROPPED = frozenset((*range(0xE1, 0xF0), 0xFE)) - {0xEE}
_EXIF_SEGMENT, _SCAN, _END = 0xE1, 0xDA, 0xD9
_EXIF = b"Exif\x00\x00"
_MAX_EXIF_ENTRIES = 200


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
    """A still image. ``data`` is what a decoder needs of it: without texts, profiles and trailing bytes."""

    kind: str  # "png", "jpeg" or "webp"
    width: int
    height: int
    data: bytes
    # What a decoded pixel takes in memory, and what the decoder holds of the whole image beside them.
    pixel_bytes: int = 4
    whole_bytes: int = 0
    # How the camera was held: 1 to 8, as EXIF counts them; 5 and up lie on their side.
    orientation: int = 1
    # Of WebP only: made without loss; with transparency.
    lossless: bool = False
    transparent: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as it is looked at."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect(upload: bytes) -> Image:
    """The image that these bytes are. Raises ImageError with what they are instead."""
    if upload.startswith(_PNG):
        image = _png(upload)
    elif upload.startswith(_JPEG):
        image = _jpeg(upload)
    elif upload.startswith(b"RIFF") and upload[8:12] == b"WEBP":
        image = _webp(upload)
    elif not upload:
        raise ImageError(EMPTY)
    elif any(start.startswith(upload) for start in (_PNG, _JPEG, b"RIFF")) or (
        upload.startswith(b"RIFF") and len(upload) < 12
    ):
        raise ImageError(TRUNCATED)
    else:
        raise ImageError(NOT_AN_IMAGE)
    return image


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(DAMAGED)
    if width * height > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    if max(width, height) > MAX_SIDE:
        raise ImageError(TOO_LONG)


def _orientation(exif: bytes) -> int:
    """What the first directory of an EXIF block says under tag 0x0112; 1, upright, where it says nothing that counts.

    A damaged block is no reason to refuse an image: it is dropped anyway.
    """
    order: Literal["little", "big"]
    if exif.startswith(b"II*\x00"):
        order = "little"
    elif exif.startswith(b"MM\x00*"):
        order = "big"
    else:
        return 1
    at = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[at : at + 2], order)
    for number in range(min(entries, _MAX_EXIF_ENTRIES)):
        entry = exif[at + 2 + 12 * number :][:12]
        if int.from_bytes(entry[:2], order) == 0x0112:
            orientation = int.from_bytes(entry[8:10], order)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


# PNG: https://www.w3.org/TR/png-3/ ------------------------------------------------------------------------


def _png(upload: bytes) -> Image:
    view = memoryview(upload)
    kept = [view[:8]]
    pixels: list[memoryview] = []
    size: tuple[int, int] | None = None
    pixel_bytes = 4
    orientation = 1
    for kind, at, end in _png_chunks(upload):
        content = view[at + 8 : end - 4]
        if kind == b"IHDR":
            size = _png_size(upload, at)
            pixel_bytes = _png_pixel_bytes(content)
        elif kind == b"acTL" and int.from_bytes(content[:4]) > 1:
            raise ImageError(ANIMATED)
        elif kind == b"IDAT":
            pixels.append(content)
        elif kind == b"eXIf":
            orientation = _orientation(bytes(content))
        if kind in _PNG_KEPT:
            kept.append(view[at:end])
    if size is None or not pixels:
        raise ImageError(DAMAGED)
    data = b"".join(pixels)
    body = b"".join((*kept, *_png_chunk(b"IDAT", data), *_png_chunk(b"IEND", b"")))
    return Image("png", *size, body, pixel_bytes, 0, orientation)


def _png_chunks(upload: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk up to the last, each as its checksum says."""
    view = memoryview(upload)
    at = 8
    for number in range(_MAX_PNG_CHUNKS):
        if at + 12 > len(upload):
            raise ImageError(TRUNCATED)
        kind = upload[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if (number == 0) != (kind == b"IHDR") or not kind.isalpha():
            raise ImageError(DAMAGED)
        if end > len(upload):
            if number == 0:
                _png_size(upload, at)
            raise ImageError(TRUNCATED)
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise ImageError(DAMAGED)
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise ImageError(DAMAGED)


def _png_pixel_bytes(head: memoryview) -> int:
    """Of grey and of palettes with up to 8 bits one byte is kept; everything else has four."""
    depth, colours = head[8], head[9]
    return 1 if depth <= 8 and colours in (0, 3) else 4


def _png_size(upload: bytes, at: int) -> tuple[int, int]:
    if int.from_bytes(upload[at : at + 4]) != 13:
        raise ImageError(DAMAGED)
    if len(upload) < at + 16:
        raise ImageError(TRUNCATED)
    width, height = struct.unpack_from(">II", upload, at + 8)
    _check_size(width, height)
    return width, height


def _png_chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    return (struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


# JPEG: ITU-T T.81, annex B --------------------------------------------------------------------------------


def _jpeg(upload: bytes) -> Image:
    view = memoryview(upload)
    kept = [view[:2]]
    size: tuple[int, int] | None = None
    whole_bytes = 0
    orientation: int | None = None
    scans = 0
    for marker, at, end, following in _jpeg_segments(upload):
        if marker in _FRAMES:
            if size is not None:
                raise ImageError(DAMAGED)
            size = _jpeg_size(marker, upload[at + 4 : end])
            whole_bytes = _jpeg_whole_bytes(marker, upload[at + 4 : end], *size)
        elif marker == _EXIF_SEGMENT and orientation is None and upload.startswith(_EXIF, at + 4):
            orientation = _orientation(upload[at + 10 : end])
        elif marker == _SCAN:
            scans += 1
        if marker not in _JPEG_DROPPED:
            kept.append(view[at:following])
    if size is None or not 1 <= scans <= _MAX_JPEG_SCANS:
        raise ImageError(DAMAGED)
    return Image("jpeg", *size, b"".join((*kept, bytes((0xFF, _END)))), 4, whole_bytes, orientation or 1)


def _jpeg_segments(upload: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Marker, start and end of every segment up to the end of the image, and where the next begins: behind the pixels,
    where it is a scan.
    """
    at = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if padding := _PADDING.match(upload, at):
            at = padding.end()
        if at + 2 > len(upload):
            raise ImageError(TRUNCATED)
        if upload[at] != 0xFF:
            raise ImageError(DAMAGED)
        marker = upload[at + 1]
        if marker == _END:
            return
        end = at + 2 + int.from_bytes(upload[at + 2 : at + 4])
        if end > len(upload):
            raise ImageError(TRUNCATED)
        if end < at + 4:
            raise ImageError(TRUNCATED if at + 4 > len(upload) else DAMAGED)
        following = end
        if marker == _SCAN:
            found = _NEXT_MARKER.search(upload, end)
            if found is None:
                raise ImageError(TRUNCATED)
            following = found.start()
        yield marker, at, end, following
        at = following
    raise ImageError(DAMAGED)


def _jpeg_size(marker: int, frame: bytes) -> tuple[int, int]:
    if len(frame) < 6:
        raise ImageError(DAMAGED)
    if marker not in _DECODABLE_FRAMES or frame[0] != 8:
        raise ImageError(UNSUPPORTED_JPEG)
    height, width = struct.unpack_from(">HH", frame, 1)
    _check_size(width, height)
    return width, height


def _jpeg_whole_bytes(marker: int, frame: bytes, width: int, height: int) -> int:
    """Two bytes for every sample of a progressive image: its scans refine what is kept of the scans before."""
    if marker != _PROGRESSIVE:
        return 0
    samplings = [(one >> 4) * (one & 15) for one in frame[7::3][: frame[5]]]
    across = max((one >> 4 for one in frame[7::3][: frame[5]]), default=1)
    down = max((one & 15 for one in frame[7::3][: frame[5]]), default=1)
    return 2 * width * height * sum(samplings) // max(1, across * down)


# WebP: https://developers.google.com/speed/webp/docs/riff_container ---------------------------------------


def _webp(upload: bytes) -> Image:
    whole = int.from_bytes(upload[4:8], "little") + 8
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    lossless = transparent = False
    orientation = 1
    at = 12
    for number in range(_MAX_WEBP_CHUNKS):
        if at + 8 > min(whole, len(upload)):
            break
        kind = upload[at : at + 4]
        length = int.from_bytes(upload[at + 4 : at + 8], "little")
        head = upload[at + 8 : at + 8 + min(length, 10)]
        if kind == b"VP8X" and number == 0 and len(head) == 10:
            if head[0] & 0x02:
                raise ImageError(ANIMATED)
            canvas = (int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1)
            _check_size(*canvas)
        elif kind in (b"ANIM", b"ANMF"):
            raise ImageError(ANIMATED)
        elif kind == b"EXIF":
            orientation = _orientation(upload[at + 8 : at + 8 + length].removeprefix(_EXIF))
        elif kind == b"ALPH":
            transparent = True
        elif kind == b"VP8 " and picture is None and len(head) == 10:
            picture = _vp8(head)
            _check_size(*picture)
        elif kind == b"VP8L" and picture is None and len(head) >= 5:
            picture, transparent = _vp8l(head)
            lossless = True
            _check_size(*picture)
        at += 8 + length + length % 2
    else:
        raise ImageError(DAMAGED)
    if len(upload) < whole:
        raise ImageError(TRUNCATED)
    # Some programs leave out the last chunk's byte of padding.
    if at > whole + 1 or picture is None or (canvas is not None and canvas != picture):
        raise ImageError(DAMAGED)
    whole_bytes = (4 if lossless else transparent) * picture[0] * picture[1]
    return Image("webp", *picture, upload[:whole], 4, whole_bytes, orientation, lossless, transparent)


def _vp8(head: bytes) -> tuple[int, int]:
    """Width and height of a lossy picture: RFC 6386, 9.1. Scaling bits above 14 are a player's business."""
    if head[0] & 1 or head[3:6] != b"\x9d\x01\x2a":
        raise ImageError(DAMAGED)
    width, height = struct.unpack_from("<HH", head, 6)
    return width & 0x3FFF, height & 0x3FFF


def _vp8l(head: bytes) -> tuple[tuple[int, int], bool]:
    """Width and height of a lossless picture, and whether it says that it has transparency: RFC 9649, 3.4."""
    if head[0] != 0x2F:
        raise ImageError(DAMAGED)
    bits = int.from_bytes(head[1:5], "little")
    return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), bool(bits >> 28 & 1)
