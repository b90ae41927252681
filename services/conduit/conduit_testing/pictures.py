"""Pictures to upload: good ones in every format, and what is wrong with others."""

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
    """Red on the left, blue on the right, brighter towards the top: no two sides or turns of it look the same."""
    bright = Image.linear_gradient("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((width, height))
    left = Image.new("L", (width, height))
    left.paste(255, (0, 0, width // 2, height))
    made = Image.merge("RGB", (left, bright, left.point(lambda value: 255 - value)))
    return made.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# Of 8 megapixels all of them: what is decoded whole, and what a decoder keeps beside it.
LARGEST: dict[str, tuple[str, str, dict[str, Any]]] = {
    "transparent PNG": ("PNG", "RGBA", {"compress_level": 1}),
    "photograph": ("JPEG", "RGB", {"quality": 90}),
    "progressive JPEG": ("JPEG", "RGB", {"subsampling": 0, "progressive": True}),
    "lossless WebP": ("WEBP", "RGBA", {"lossless": True, "quality": 0, "method": 0}),
}


def largest(name: str) -> bytes:
    """The largest upload of one of the kinds in LARGEST."""
    kind, mode, options = LARGEST[name]
    image = picture(3_264, 2_448)
    if mode == "RGBA":
        image.putalpha(image.getchannel("G"))
    return encoded(image, kind, **options)


def upload(kind: str = "PNG", width: int = 48, height: int = 32, **options: Any) -> bytes:
    """A picture in one of FORMATS."""
    return encoded(picture(width, height), kind, **options)


def photographed(kind: str, orientation: int, width: int = 48, height: int = 32) -> bytes:
    """A picture that is upright once turned as its EXIF says, which also names a camera and a place; with a profile."""
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
    """A PNG put together by hand: ``header`` is depth, colour type and the three methods."""
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
    """A few hundred bytes that say they are 2.5 thousand million pixels."""
    return png(50_000, 50_000, b"\0" * 1_000)


def with_many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: little to send, and a decoder reads the whole image for each."""
    image = upload("JPEG", progressive=True)
    start = image.rindex(b"\xff\xda")
    return image[:start] + image[start:-2] * scans + image[-2:]
