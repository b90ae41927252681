"""Covers made from uploads: upright, in three sizes, without metadata, and with little memory."""

import io
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from conduit import images
from conduit.image_structure import ImageError, inspect
from conduit_testing.pictures import (
    CAMERA,
    FORMATS,
    encoded,
    largest,
    photographed,
    picture,
    png,
    upload,
    with_many_scans,
)


def covers(content: bytes) -> dict[str, Image.Image]:
    files = images.covers(inspect(content))
    assert all(file.startswith(b"RIFF") and file[8:12] == b"WEBP" for file in files.values())
    return {size: Image.open(io.BytesIO(file)) for size, file in files.items()}


def differs(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures of the same size, 0 to 255."""
    histogram = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).convert("L").histogram()
    return sum(value * count for value, count in enumerate(histogram)) / sum(histogram)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((48, 32), [(48, 32)] * 3),
        ((1_600, 900), [(320, 180), (800, 450), (1_600, 900)]),
        ((2_000, 1_000), [(320, 160), (800, 400), (1_600, 800)]),
        ((1_000, 3_000), [(213, 640), (533, 1_600), (1_000, 3_000)]),
        ((2_400, 3_200), [(320, 427), (800, 1_067), (1_600, 2_133)]),
        ((9_000, 10), [(320, 1), (800, 1), (1_600, 2)]),
        ((10, 9_000), [(1, 640), (2, 1_600), (4, 3_200)]),
        ((1, 1), [(1, 1)] * 3),
    ],
)
def test_sizes_keep_the_proportions_and_never_enlarge(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert [images.fitted(*size, name) for name in ("small", "medium", "large")] == expected


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1_650, 100), (100, 3_300), (9_000, 10), (10, 9_000)])
def test_the_files_are_of_those_sizes(kind: str, size: tuple[int, int]) -> None:
    made = covers(upload(kind, *size))
    assert {name: cover.size for name, cover in made.items()} == {name: images.fitted(*size, name) for name in made}
    assert set(made) == {"small", "medium", "large"}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(400, 300), (1_700, 600), (3_300, 400)])
def test_a_cover_looks_like_its_upload(kind: str, size: tuple[int, int]) -> None:
    for name, made in covers(upload(kind, *size)).items():
        assert made.mode == "RGB"
        assert differs(made, picture(*made.size)) < 4, name


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(96, 64), (1_800, 200)])
def test_a_cover_is_turned_upright(kind: str, orientation: int, size: tuple[int, int]) -> None:
    made = covers(photographed(kind, orientation, *size))["large"]
    width = min(1_600, size[0])
    assert made.size == (width, round(size[1] * width / size[0]))
    assert differs(made, picture(*made.size)) < 4


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cover_has_no_metadata(kind: str) -> None:
    content = photographed(kind, 6)
    given = Image.open(io.BytesIO(content))
    assert given.getexif()[271] == CAMERA
    assert given.getexif().get_ifd(0x8825)
    assert kind == "PNG" or "icc_profile" in given.info
    for file in images.covers(inspect(content)).values():
        assert not any(chunk in file for chunk in (b"EXIF", b"ICCP", b"XMP ", CAMERA.encode()))
        assert not Image.open(io.BytesIO(file)).getexif()


@pytest.mark.parametrize("width", [100, 1_700])
@pytest.mark.parametrize("options", [("PNG", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exact": True})])
def test_transparent_pixels_become_white_whatever_their_colour(width: int, options: tuple[str, dict[str, Any]]) -> None:
    made = Image.new("RGBA", (width, 60), (255, 0, 0, 0))
    made.paste((0, 0, 255, 255), (width // 2, 0, width, 60))
    cover = covers(encoded(made, options[0], **options[1]))["large"]
    assert cover.mode == "RGB"
    for x in range(cover.width):
        red, green, blue = cover.getpixel((x, 30))  # type: ignore[misc]
        assert abs(red - green) < 60, (x, red, green, blue)
        if x < cover.width // 2 - 4:
            assert min(red, green, blue) > 240
        elif x > cover.width // 2 + 4:
            assert max(red, green, 255 - blue) < 16


@pytest.mark.parametrize("width", [256, 1_792])
@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("L", "JPEG")])
def test_every_colour_model_keeps_its_look(mode: str, kind: str, width: int) -> None:
    made = picture(width, 60)
    made = made.quantize(64) if mode == "P" else made.convert(mode)
    cover = covers(encoded(made, kind))["large"]
    # One bit a pixel makes dots, of which a lossy format keeps only the shade.
    assert differs(cover, made.convert("RGB").resize(cover.size)) < (40 if mode == "1" else 6)


@pytest.mark.parametrize("width", [256, 1_792])
def test_cmyk_is_converted_as_a_press_prints_it(width: int) -> None:
    """Without a profile: duller than a screen's colours, but the same hues."""
    for ink, expected in (
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 160, 230)),
        ((0, 255, 255, 0), (230, 30, 40)),
        ((0, 0, 0, 255), (30, 30, 30)),
    ):
        made = Image.new("CMYK", (width, 60), ink)
        assert _colour(encoded(made, "JPEG")) == pytest.approx(expected, abs=40)


@pytest.mark.parametrize("width", [256, 1_792])
def test_sixteen_bit_grey_keeps_its_shades(width: int) -> None:
    shades = Image.new("I;16", (256, 20))
    shades.putdata([x * 257 for _ in range(20) for x in range(256)])
    cover = covers(encoded(shades.resize((width, 20), Image.Resampling.NEAREST), "PNG"))["large"].convert("L")
    right = cover.width - 1
    assert [cover.getpixel((x, 10)) for x in (0, right // 2, right)] == [
        pytest.approx(shade, abs=6) for shade in (0, 127, 255)
    ]


@pytest.mark.parametrize(
    "content",
    [
        png(4, 4, b"\0" * 20),
        png(4, 4, b"\x09" * 52),
        png(4, 4, b"\0" * 52, header=(8, 7, 0, 0, 0)),
        png(4, 4, b"\0" * 52, header=(3, 2, 0, 0, 0)),
    ],
    ids=["rows missing", "no such filter", "no such colours", "no such depth"],
)
def test_damage_that_only_decoding_finds_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError) as refused:
        images.covers(inspect(content))
    assert refused.value.reason == "is damaged"


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_whose_pixels_are_noise_is_refused(lossless: bool) -> None:
    content = upload("WEBP", 64, 64, lossless=lossless)
    broken = content[:40] + bytes(255 - byte for byte in content[40:])
    with pytest.raises(ImageError):
        images.covers(inspect(broken))


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xCD])
def test_a_rare_jpeg_is_refused_as_such(marker: int) -> None:
    content = upload("JPEG")
    at = content.index(b"\xff\xc0")
    for rare in (
        content[: at + 1] + bytes([marker]) + content[at + 2 :],
        content[: at + 4] + b"\x0c" + content[at + 5 :],
    ):
        with pytest.raises(ImageError, match="rare kind"):
            images.covers(inspect(rare))


def test_a_jpeg_of_the_most_scans_is_made_in_time() -> None:
    image = inspect(with_many_scans(100, 3_264, 2_448))
    started = time.process_time()
    assert len(images.covers(image)) == 3
    assert time.process_time() - started < 5


# Colour profiles --------------------------------------------------------------------------------------------


def _profile(**columns: tuple[float, float, float]) -> bytes:
    """An ICC profile (version 2) of a display with about sRGB's gamma, and these columns of its matrix, as XYZ."""

    def fixed(*numbers: float) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249), b"desc": b"desc" + bytes(86)}
    tags |= {f"{name}XYZ".encode(): b"XYZ " + bytes(4) + fixed(*column) for name, column in columns.items()}
    tags |= {f"{name}TRC".encode(): curve for name in columns}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    kind = (b"\2\x40\0\0", b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp")
    head = struct.pack(">I4s4s4s4s4s12s4s", at + len(body), b"", *kind)
    return head.ljust(68, b"\0") + fixed(0.9642, 1.0, 0.8249) + bytes(48) + table + body


_RED, _GREEN, _BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
_SWAPPED = _profile(r=_BLUE, g=_GREEN, b=_RED)
_WIDE = _profile(r=(0.5151, 0.2412, -0.0011), g=(0.2919, 0.6922, 0.0419), b=(0.1572, 0.0666, 0.7841))


def _colour(content: bytes) -> tuple[int, int, int]:
    colour = covers(content)["large"].getpixel((10, 10))
    assert isinstance(colour, tuple)
    return colour[0], colour[1], colour[2]


@pytest.mark.parametrize("kind", FORMATS)
def test_colours_are_converted_from_the_uploads_profile(kind: str) -> None:
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    for profile, expected in ((_SWAPPED, (0, 0, 255)), (_profile(r=_RED, g=_GREEN, b=_BLUE), (255, 0, 0))):
        assert _colour(encoded(red, kind, icc_profile=profile, quality=95)) == pytest.approx(expected, abs=20)
    # A green that sRGB has, but that the wide profile reaches with less of each primary.
    pale = Image.new("RGB", (40, 40), (120, 200, 120))
    plain, wide = (_colour(encoded(pale, kind, icc_profile=profile, quality=95)) for profile in (None, _WIDE))
    assert plain == pytest.approx((120, 200, 120), abs=6)
    assert wide[0] < 100
    assert wide[1] == pytest.approx(203, abs=8)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("profile", [b"none", _SWAPPED[:150], bytes(3_000), _SWAPPED.replace(b"RGB ", b"CMYK")])
def test_a_profile_that_is_damaged_or_of_other_colours_is_ignored(kind: str, profile: bytes) -> None:
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    assert _colour(encoded(red, kind, icc_profile=profile)) == pytest.approx((255, 0, 0), abs=20)


def _in_a_process(program: str, *files: Path) -> list[str]:
    """The words that the program prints, run in a separate process."""
    environment = {"PYTHONPATH": str(Path(images.__file__).parents[1])}
    command = [sys.executable, "-c", program, *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


_PEAK = """
import sys, pathlib
from conduit import images, image_structure, memory_headroom
memory_headroom.limit_malloc()
def resident(what):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))
images.covers(image_structure.inspect(pathlib.Path(sys.argv[2]).read_bytes()))
image = image_structure.inspect(pathlib.Path(sys.argv[1]).read_bytes())
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
images.covers(image)
print(resident("VmHWM") - before, resident("VmRSS") - before, images.needed_bytes(image))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("kind", "mode", "size", "options", "most"),
    [
        ("PNG", "RGBA", (3_264, 2_448), {"compress_level": 1}, 36),
        ("PNG", "RGBA", (5_656, 4_242), {"compress_level": 1}, 60),
        ("PNG", "P", (3_264, 2_448), {}, 28),
        ("PNG", "RGBA", (1_600, 5_000), {"compress_level": 1}, 36),
        ("PNG", "RGBA", (8_000, 1_000), {"compress_level": 1}, 68),
        ("PNG", "RGB", (16_383, 488), {"compress_level": 1}, 60),
        ("JPEG", "RGB", (3_264, 2_448), {"subsampling": 0, "progressive": True}, 72),
        ("JPEG", "RGB", (3_264, 2_448), {"progressive": True}, 50),
        ("JPEG", "RGB", (4_032, 3_024), {"progressive": True}, 66),
        ("JPEG", "RGB", (5_656, 4_242), {"progressive": True}, 112),
        ("JPEG", "RGB", (5_656, 4_242), {}, 42),
        ("JPEG", "CMYK", (3_264, 2_448), {"subsampling": 0, "progressive": True}, 100),
        ("JPEG", "CMYK", (8_000, 1_000), {}, 36),
        ("JPEG", "RGB", (3_199, 2_400), {}, 28),
        ("JPEG", "RGB", (2_000, 4_000), {}, 52),
        ("WEBP", "RGB", (3_264, 2_448), {"method": 0}, 30),
        ("WEBP", "RGB", (5_656, 4_242), {"method": 0}, 32),
        ("WEBP", "RGBA", (3_264, 2_448), {"method": 0}, 36),
        ("WEBP", "RGB", (2_000, 4_000), {"method": 0}, 60),
        ("WEBP", "RGBA", (3_264, 2_448), {"method": 0, "lossless": True, "quality": 0}, 50),
    ],
)
def test_the_largest_uploads_take_no_more_memory_than_needed_bytes(
    kind: str, mode: str, size: tuple[int, int], options: dict[str, Any], most: int, *, tmp_path: Path
) -> None:
    made = picture(*size)
    if mode == "RGBA":
        made.putalpha(Image.linear_gradient("L").resize(made.size))
    made = made.quantize(64) if mode == "P" else made.convert(mode)
    (tmp_path / "large").write_bytes(encoded(made, kind, **options))
    (tmp_path / "small").write_bytes(upload(kind, 64, 64))
    done = _in_a_process(_PEAK, tmp_path / "large", tmp_path / "small")
    peak, kept, asked = (int(number) / 2**20 for number in done)
    assert peak < most, f"{peak:.0f} MB, {asked:.0f} asked for"
    assert peak < asked + 4, f"{peak:.0f} MB, {asked:.0f} asked for"
    assert asked < peak * 1.5, f"{peak:.0f} MB, {asked:.0f} asked for"
    assert kept < 8, f"{kept:.0f} MB"


_AGAIN = """
import pathlib, sys, threading
from conduit import images, image_structure, memory_headroom
memory_headroom.limit_malloc()
def resident():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
def make():
    for name in sys.argv[1:]:
        images.covers(image_structure.inspect(pathlib.Path(name).read_bytes()))
def in_a_thread():
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
in_a_thread()
before = resident()
for _ in range(6):
    in_a_thread()
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_does_not_grow_from_cover_to_cover(tmp_path: Path) -> None:
    """Each is made in a new thread, which by default leaves a memory arena behind."""
    names = []
    for kind in ("progressive JPEG", "lossless WebP"):
        names.append(tmp_path / kind)
        names[-1].write_bytes(largest(kind))
    done = _in_a_process(_AGAIN, *names)
    assert int(done[0]) / 2**20 < 10
