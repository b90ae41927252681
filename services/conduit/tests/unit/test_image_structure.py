"""An upload's format and size from its header, before its pixels are decoded and memory is allocated for them."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
import pyvips
from PIL import Image

from conduit import image_structure as structure
from conduit.image_structure import ImageError, inspect
from conduit_testing.pictures import (
    CAMERA,
    FORMATS,
    animated,
    bomb,
    encoded,
    exif_block,
    jpeg_comment,
    photographed,
    picture,
    png,
    png_chunk,
    upload,
    with_a_scan_per_component,
    with_exif,
    with_many_scans,
)

HEAD = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
COMMENT = b"who made it"


def reason(content: bytes) -> str:
    with pytest.raises(ImageError) as refused:
        inspect(content)
    assert refused.value.errors == {"cover": [refused.value.reason]}
    assert refused.value.status == 422
    return refused.value.reason


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (640, 427)])
def test_kind_and_size(kind: str, size: tuple[int, int]) -> None:
    image = inspect(upload(kind, *size))
    assert (image.kind, image.width, image.height, image.orientation) == (kind.lower(), *size, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_known(mode: str) -> None:
    made = Image.new("I;16", (5, 4)) if mode == "I;16" else picture(5, 4, "RGB").convert(mode)
    image = inspect(encoded(made, "PNG"))
    assert (image.width, image.height) == (5, 4)
    assert Image.open(io.BytesIO(image.data)).size == (5, 4)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_common_kind_of_jpeg_is_known(options: dict[str, int], mode: str) -> None:
    image = inspect(encoded(picture(70, 50).convert(mode), "JPEG", **options))
    assert (image.kind, image.width, image.height) == ("jpeg", 70, 50)


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_kind_of_webp_is_known(options: dict[str, bool], mode: str) -> None:
    made = picture(30, 21)
    if mode == "RGBA":
        made.putalpha(Image.linear_gradient("L").resize(made.size))
    assert inspect(encoded(made, "WEBP", **options))[:3] == ("webp", 30, 21)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read(kind: str, orientation: int) -> None:
    assert inspect(photographed(kind, orientation)).orientation == orientation


def _without_exif(kind: str) -> bytes:
    made = picture()
    if kind == "WEBP":
        made.putalpha(100)  # with transparency the file has the VP8X header that EXIF needs
    return encoded(made, kind)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_stored_as_a_long_counts_too(kind: str, order: str) -> None:
    short = exif_block((0x10F, 2, 4, 0), (0x112, 3, 1, 6 << 16 if order == ">" else 6), order=order)
    long = exif_block((0x10F, 2, 4, 0), (0x112, 4, 1, 6), order=order)
    for exif in (short, long):
        assert inspect(with_exif(_without_exif(kind), exif)).orientation == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff",
        b"MM\x00*\x00\x00\x00\x08\xff\xff",
        b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x09",
        b"nothing of the kind",
    ],
    ids=["empty", "head", "beyond", "many", "nine", "text"],
)
def test_a_damaged_exif_block_is_ignored(exif: bytes) -> None:
    image = inspect(png(1, 1, b"\0\0\0\0", png_chunk(b"eXIf", exif)))
    assert image.orientation == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_exif_whose_directories_refer_to_each_other_is_read_in_time(kind: str) -> None:
    """libexif needs more than four seconds for each of these."""
    for tag in (0x8769, 0x8825, 0xA005):
        exif = exif_block(*[(tag, 4, 1, 8)] * 5_400)
        content = with_exif(_without_exif(kind), exif)
        started = time.thread_time()
        assert inspect(content).orientation == 1
        assert time.thread_time() - started < 1


@pytest.mark.parametrize("kind", FORMATS)
def test_metadata_is_not_given_to_the_decoder_but_the_profile_is(kind: str) -> None:
    content = photographed(kind, 6)
    assert CAMERA.encode() in content
    image = inspect(content)
    assert image.orientation == 6
    assert (b"Exif" in image.data, b"eXIf" in image.data, b"EXIF" in image.data) == (False, False, False)
    # libpng drops an invalid profile.
    assert image.has_profile == (kind != "PNG")
    assert not inspect(upload(kind)).has_profile


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    assert reason(animated(kind)) == "is animated"


def test_a_png_of_one_frame_is_a_still() -> None:
    control = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    assert inspect(png(1, 1, b"\0\0\0\0", control)).kind == "png"


@pytest.mark.parametrize(
    "content",
    [
        b"text",
        animated("GIF"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7",
        b"BM" + bytes(60),
        b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(30),
        b"\x00\x00\x00\x20ftypavif" + bytes(30),
        b"GIF89a\x89PNG\r\n\x1a\n",
        b"\xff\xd8no marker behind",
    ],
    ids=["text", "gif", "svg", "xml", "pdf", "bmp", "wave", "avif", "gif and png", "jpeg's first two"],
)
def test_other_formats_are_refused(content: bytes) -> None:
    assert reason(content) == "is not a PNG, JPEG or WebP image"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "SVG"])
def test_libvips_itself_reads_no_other_format(kind: str) -> None:
    content = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    with pytest.raises(pyvips.Error, match="unable to load"):
        pyvips.Image.new_from_buffer(content if kind == "SVG" else encoded(picture(), kind), "")


def test_an_empty_upload_is_refused() -> None:
    assert reason(b"") == "is empty"


@pytest.mark.parametrize("kind", FORMATS)
def test_any_cut_is_truncated(kind: str) -> None:
    whole = upload(kind, 90, 60)
    told = {reason(whole[:length]) for length in range(1, len(whole))}
    assert told == {"is truncated"}


@pytest.mark.parametrize("kind", FORMATS)
def test_data_behind_the_image_is_ignored(kind: str) -> None:
    """Such as an archive or a script in a polyglot file: it is not published."""
    assert inspect(upload(kind) + b"PK\x03\x04<script>alert(1)</script>").kind == kind.lower()


def test_texts_of_a_png_are_not_inflated() -> None:
    """libpng would need 8 MB and some milliseconds for each."""
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(7_900_000), 9))
    image = inspect(png(1, 1, b"\0\0\0\0", *[text] * 100))
    assert b"zTXt" not in image.data
    assert Image.open(io.BytesIO(image.data)).getpixel((0, 0)) == (0, 0, 0)


def test_a_bomb_is_refused_by_its_header() -> None:
    content = bomb()
    assert len(content) < 1_000
    assert reason(content) == "has more than 24 megapixels"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((5_657, 4_243), "has more than 24 megapixels"),
        ((65_000, 100), "is more than 16383 pixels wide or high"),
        ((1, 16_384), "is more than 16383 pixels wide or high"),
        ((0, 10), "is damaged"),
    ],
)
def test_sizes_beyond_the_limits_are_refused(size: tuple[int, int], expected: str) -> None:
    assert reason(png(*size, b"")) == expected
    content = bytearray(upload("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", size[1], size[0])
    assert reason(bytes(content)) == expected


@pytest.mark.parametrize("size", [(5_656, 4_242), (6_000, 4_000), (1_464, 16_383)])
def test_sizes_within_the_limits_are_accepted(size: tuple[int, int]) -> None:
    assert inspect(png(*size, b""))[1:3] == size


def test_a_webp_cannot_hide_its_size() -> None:
    """The size of the canvas and of the decoded picture must agree."""
    made = picture(40, 30)
    made.putalpha(100)
    content = bytearray(encoded(made, "WEBP"))
    assert content[12:16] == b"VP8X"
    at = content.index(b"VP8 ") + 8 + 6
    content[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    assert reason(bytes(content)) == "is damaged"
    content[at : at + 4] = struct.pack("<HH", 40, 31)
    assert reason(bytes(content)) == "is damaged"
    content = bytearray(upload("WEBP", 40, 30))
    at = content.index(b"VP8 ") + 8 + 6
    content[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    assert reason(bytes(content)) == "has more than 24 megapixels"


def _progressive(factors: bytes = b"", mode: str = "RGB", **options: int) -> bytes:
    """A progressive JPEG of 64 x 64 pixels, whose components have these sampling factors in the frame header."""
    content = bytearray(encoded(picture(64, 64).convert(mode), "JPEG", progressive=True, **options))
    at = content.index(b"\xff\xc2") + 11
    for number, factor in enumerate(factors):
        content[at + 3 * number] = factor
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "bytes_per_pixel"),
    [
        (_progressive(subsampling=0), 6),
        (_progressive(subsampling=1), 4),
        (_progressive(subsampling=2), 3),
        (_progressive(mode="L"), 2),
        (_progressive(mode="CMYK", subsampling=0), 8),
        (_progressive(b"\x22\x22\x22", subsampling=0), 6),
        (_progressive(b"\x21\x21\x21", subsampling=0), 6),
        (_progressive(b"\x22\x11\x22", subsampling=0), 4.5),
        (with_a_scan_per_component(64, 64), 6),
        (upload("JPEG", 64, 64), 0),
    ],
)
def test_the_coefficients_of_a_jpeg_of_several_scans_are_counted(content: bytes, bytes_per_pixel: float) -> None:
    assert inspect(content).whole_bytes == 64 * 64 * bytes_per_pixel


def test_blocks_are_counted_whole() -> None:
    """At 4:2:0 one pixel takes four blocks of the first component, and one of each other, of 128 bytes each."""
    assert inspect(upload("JPEG", 1, 1, progressive=True, subsampling=2)).whole_bytes == 6 * 128


def test_a_second_frame_header_in_a_comment_does_not_lower_the_count() -> None:
    content = _progressive(subsampling=0)
    at = content.index(b"\xff\xc2")
    fake = content[at : at + 11] + b"\x44" + content[at + 12 : at + 19]
    assert inspect(jpeg_comment(content, fake)).whole_bytes == 64 * 64 * 6


def _broken(change: Callable[[bytearray], None], kind: str = "PNG") -> bytes:
    content = bytearray(upload(kind))
    change(content)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        _broken(lambda c: c.__setitem__(c.index(b"IDAT") + 6, c[c.index(b"IDAT") + 6] ^ 1)),
        _broken(lambda c: c.__setitem__(12, ord("J"))),
        _broken(lambda c: c.__setitem__(11, 14)),
        png(1, 1, b"\0\0\0\0", HEAD),
        b"\x89PNG\r\n\x1a\n" + HEAD + png_chunk(b"IEND", b""),
        _broken(lambda c: c.__setitem__(slice(c.index(b"\xff\xc0") + 4, c.index(b"\xff\xc0") + 9), bytes(5)), "JPEG"),
        _broken(lambda c: c.__setitem__(c.index(b"\xff\xdb") + 3, 1), "JPEG"),
        _broken(lambda c: c.__setitem__(23, c[23] ^ 0xFF), "WEBP"),
        b"RIFF\x04\x00\x00\x00WEBP",
    ],
    ids=[
        "png's checksum", "png's first chunk", "png's head", "two heads", "no pixels",
        "jpeg's frame", "jpeg's length", "webp's start code", "webp of nothing",
    ],
)  # fmt: skip
def test_a_contradictory_file_is_damaged(content: bytes) -> None:
    assert reason(content) == "is damaged"


@pytest.mark.parametrize(
    "content",
    [
        with_many_scans(101),
        upload("JPEG")[:-2] + b"\xff\xfe\x00\x02" * 100_000 + b"\xff\xd9",
        upload("JPEG")[:2] + b"\xff\xfe\x00\x02" * 1_200_000 + upload("JPEG")[2:],
        b"\xff\xd8" + b"\xff" * 5_000_000,
        b"\xff\xd8\xff\xda\x00\x02" + b"\xff\x00" * 2_400_000,
        b"\xff\xd8\xff\xda\x00\x02" + b"\xff\xd0" * 2_400_000,
        png(1, 1, b"", *[png_chunk(b"tEXt", b"")] * 100_000),
        b"RIFF" + struct.pack("<I", 4_800_004) + b"WEBP" + b"junk\0\0\0\0" * 600_000,
    ],
    ids=["scans", "segments", "segments first", "padding", "stuffing", "restarts", "chunks", "riff chunks"],
)
def test_no_structure_takes_long_to_parse(content: bytes) -> None:
    started = time.thread_time()
    with suppress(ImageError):
        inspect(content)
    assert time.thread_time() - started < 0.5


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    assert inspect(with_many_scans(100)).kind == "jpeg"
    assert reason(with_many_scans(101)) == "is damaged"


def test_as_many_scans_and_chunks_as_encoders_write_are_accepted() -> None:
    assert inspect(with_many_scans(50)).kind == "jpeg"
    pixels = zlib.compress(b"\0" * 4)
    content = png(1, 1, b"", *[png_chunk(b"tEXt", b"x\0y")] * 1_000)
    at = content.index(b"IDAT") - 4
    split = b"".join(png_chunk(b"IDAT", pixels[n : n + 1]) for n in range(len(pixels)))
    image = inspect(content[:at] + split + png_chunk(b"IEND", b""))
    assert Image.open(io.BytesIO(image.data)).getpixel((0, 0)) == (0, 0, 0)
    assert structure.MAX_PIXELS == 24_000_000
