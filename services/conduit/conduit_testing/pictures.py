"""Pictures to upload: valid ones in every format, and invalid ones."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import ExifTags, Image

FORMATS = ("PNG", "JPEG", "WEBP")
CAMERA = "A camera that must not be named"
PLACE = ((52.0, 31.0, 12.0), (13.0, 24.0, 18.0))


def picture(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right, brighter towards the top: it looks different in each orientation."""
    bright = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((width, height))
    left = Image.new("L", (width, height))
    left.paste(255, (0, 0, width // 2, height))
    made = Image.merge("RGB", (left, bright, left.point(lambda value: 255 - value)))
    return made.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# What the smallest box has to take: 24 megapixels where decoders work in strips, fewer where they hold the whole image.
LARGEST: dict[str, tuple[str, str, tuple[int, int], dict[str, Any]]] = {
    "transparent PNG": ("PNG", "RGBA", (5_656, 4_242), {"compress_level": 1}),
    "photograph": ("JPEG", "RGB", (5_656, 4_242), {"quality": 90}),
    "progressive photograph": ("JPEG", "RGB", (4_032, 3_024), {"progressive": True}),
    "progressive JPEG": ("JPEG", "RGB", (3_264, 2_448), {"subsampling": 0, "progressive": True}),
    "lossless WebP": ("WEBP", "RGBA", (4_032, 3_024), {"lossless": True, "quality": 0, "method": 0}),
}


def largest(name: str) -> bytes:
    """The largest upload of one of the kinds in LARGEST."""
    kind, mode, size, options = LARGEST[name]
    image = picture(*size)
    if mode == "RGBA":
        image.putalpha(image.getchannel("G"))
    return encoded(image, kind, **options)


def upload(kind: str = "PNG", width: int = 48, height: int = 32, **options: Any) -> bytes:
    """A picture in one of FORMATS."""
    return encoded(picture(width, height), kind, **options)


def with_exif(content: bytes, exif: bytes) -> bytes:
    """A PNG, JPEG or WebP (VP8X) without EXIF, with this EXIF block added (without its ``Exif\\0\\0``)."""
    if content.startswith(b"\xff\xd8"):
        return content[:2] + _jpeg_segment(0xE1, b"Exif\0\0" + exif) + content[2:]
    if content.startswith(b"RIFF"):
        body = bytearray(content[8:]) + b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
        body[12] |= 0x08
        return b"RIFF" + struct.pack("<I", len(body)) + bytes(body)
    return content[:33] + png_chunk(b"eXIf", exif) + content[33:]


def exif_block(*entries: tuple[int, int, int, int], order: str = ">") -> bytes:
    """One directory of entries: tag, type (3 is SHORT, 4 LONG), count, and the value's four bytes as a number."""
    packed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HIH", 42, 8, len(entries)) + packed + bytes(4)


def photographed(kind: str, orientation: int, width: int = 48, height: int = 32) -> bytes:
    """A picture with a colour profile, and EXIF with an orientation, a camera and a place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = CAMERA
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: PLACE[0], 3: "E", 4: PLACE[1]})
    lying = picture(width, height)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    if undo is not None:
        lying = lying.transpose(Image.Transpose(undo))
    return encoded(lying, kind, exif=exif, icc_profile=b"a profile that is none")


def animated(kind: str) -> bytes:
    """Three pictures in one file: PNG, WEBP or GIF."""
    frames = [picture(mode=mode) for mode in ("RGB", "L", "1")]
    return encoded(
        frames[0].convert("RGB"),
        kind,
        save_all=True,
        append_images=[frame.convert("RGB") for frame in frames[1:]],
        duration=100,
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *chunks: bytes, header: Sequence[int] = (8, 2, 0, 0, 0)) -> bytes:
    """A PNG built by hand: ``header`` is depth, colour type and the three methods."""
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *header)),
            *chunks,
            png_chunk(b"IDAT", zlib.compress(pixels)),
            png_chunk(b"IEND", b""),
        )
    )


def bomb() -> bytes:
    """A decompression bomb: a few hundred bytes that claim 2.5 billion pixels."""
    return png(50_000, 50_000, b"\0" * 1_000)


def with_many_scans(scans: int, width: int = 48, height: int = 32) -> bytes:
    """A valid grey JPEG of up to 883 scans, each a bit of one coefficient: little to send, much to decode.

    Most scans are two or three codes that say "nothing for the next 16,384 blocks": ITU-T T.81, annex G.
    """
    blocks = -(-width // 8) * -(-height // 8)
    long_runs, rest = divmod(blocks, 1 << 14)
    nothing = _jpeg_bits(("0" + "0" * 14) * long_runs + "10" * rest)
    made = [
        b"\xff\xd8",
        _jpeg_segment(0xDB, b"\0" + b"\1" * 64),
        _jpeg_segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"),
        _jpeg_segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0"),  # DC: "0" is a difference of nothing
        # AC: "0" and 14 bits is a run of 16,384 blocks and more, "10" of one block
        _jpeg_segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\x00"),
        _jpeg_segment(0xDA, b"\1\1\0\0\0\0") + _jpeg_bits("0" * blocks),
    ]
    for number in range(scans - 1):
        coefficient, bit = 1 + number // 14, 13 - number % 14
        before = 0 if bit == 13 else bit + 1
        made.append(_jpeg_segment(0xDA, bytes([1, 1, 0, coefficient, coefficient, before << 4 | bit])) + nothing)
    return b"".join((*made, b"\xff\xd9"))


def with_a_scan_per_component(width: int = 48, height: int = 32) -> bytes:
    """A baseline JPEG whose three components are not interleaved: libjpeg holds it whole, like progressive ones."""
    blocks = -(-width // 8) * -(-height // 8)
    made = [
        b"\xff\xd8",
        _jpeg_segment(0xDB, b"\0" + b"\1" * 64),
        _jpeg_segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + b"\1\x11\0\2\x11\0\3\x11\0"),
        _jpeg_segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0"),  # DC: "0" is a difference of nothing
        _jpeg_segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),  # AC: "0" ends the block
    ]
    made += [
        _jpeg_segment(0xDA, bytes([1, component, 0, 0, 63, 0])) + _jpeg_bits("00" * blocks) for component in (1, 2, 3)
    ]
    return b"".join((*made, b"\xff\xd9"))


def jpeg_comment(content: bytes, comment: bytes) -> bytes:
    """A JPEG with a comment before everything else."""
    return content[:2] + _jpeg_segment(0xFE, comment) + content[2:]


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def _jpeg_bits(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
