"""What making covers costs: CPU and memory for the largest uploads, measured in a process each.

``python -m conduit_testing.image_costs [--rounds 3] [--sizes 3264x2448 …] [FOLDER …]`` prints JSON. Each folder holds a
version of the package ``conduit``; without one, it is this version. The versions take turns, so that a slow minute of
the machine meets both. Memory depends on the shape of the image: wide ones need several times as much.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyvips
from PIL import Image

from conduit_testing.pictures import encoded
from data.pictures.photos import photos

MAX_BYTES = 5_000_000

# The peak over the process at rest, which has made a cover of the same kind before.
CHILD = """
import json, pathlib, sys, time
from conduit import images, image_structure, memory_headroom
memory_headroom.limit_malloc()
def memory(what):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))
large, small = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
images.covers(image_structure.inspect(small))
pathlib.Path("/proc/self/clear_refs").write_text("5")
before, started = memory("VmRSS"), time.process_time()
image = image_structure.inspect(large)
inspected = time.process_time()
files = images.covers(image)
made = time.process_time()
print(json.dumps({
    "inspect_ms": (inspected - started) * 1000, "covers_ms": (made - inspected) * 1000,
    "peak_mb": (memory("VmHWM") - before) / 2**20, "kept_mb": (memory("VmRSS") - before) / 2**20,
    "asked_mb": images.needed_bytes(image) / 2**20, "bytes": {size: len(file) for size, file in files.items()},
}))
"""


def uploads(size: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
    """Name and file of an image in every form that decoders handle differently, those within 5 MB."""
    for name, content in _uploads(size):
        if len(content) <= MAX_BYTES:
            yield name, content


def _uploads(size: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
    taken = max((Image.open(io.BytesIO(file)) for file in photos()), key=lambda image: image.width * image.height)
    photo = taken.convert("RGB").resize(size)
    flat, drawn = photo.quantize(16), photo.resize((408, 306)).resize(size, Image.Resampling.NEAREST)
    fading, drawn_fading = photo.copy(), drawn.copy()
    for image in (fading, drawn_fading):
        image.putalpha(Image.linear_gradient("L").resize(size))
    yield "JPEG", encoded(photo, "JPEG", quality=85)
    yield "JPEG 4:4:4", encoded(photo, "JPEG", quality=80, subsampling=0)
    yield "JPEG grey", encoded(photo.convert("L"), "JPEG", quality=85)
    yield "JPEG CMYK", encoded(photo.convert("CMYK"), "JPEG", quality=70)
    yield "JPEG progressive", encoded(photo, "JPEG", quality=85, progressive=True)
    yield "JPEG progressive 4:4:4", encoded(photo, "JPEG", quality=80, subsampling=0, progressive=True)
    yield "JPEG progressive CMYK", encoded(photo.convert("CMYK"), "JPEG", quality=70, subsampling=0, progressive=True)
    yield "PNG", encoded(drawn, "PNG", compress_level=1)
    yield "PNG alpha", encoded(drawn_fading, "PNG", compress_level=1)
    yield "PNG palette", encoded(flat, "PNG", compress_level=1)
    alpha = pyvips.Image.new_from_memory(drawn_fading.tobytes(), *size, 4, "uchar").copy(interpretation="srgb")
    plain, deep = alpha.extract_band(0, n=3), alpha.colourspace("rgb16")
    yield "PNG 16 bits", plain.colourspace("rgb16").pngsave_buffer(compression=6)
    yield "PNG 16 bits, alpha", deep.pngsave_buffer(compression=6)
    yield "PNG interlaced", plain.pngsave_buffer(interlace=True, compression=6)
    yield "PNG interlaced, alpha", alpha.pngsave_buffer(interlace=True, compression=6)
    yield "PNG interlaced, 16 bits, alpha", deep.pngsave_buffer(interlace=True, compression=6)
    if max(size) >= 1 << 14:
        return
    yield "WebP", encoded(photo, "WEBP", quality=80, method=0)
    yield "WebP alpha", encoded(fading, "WEBP", quality=10, alpha_quality=20, method=0)
    yield "WebP lossless", encoded(flat.convert("RGB"), "WEBP", lossless=True, quality=0, method=0)
    yield "WebP lossless, alpha", encoded(drawn_fading, "WEBP", lossless=True, quality=0, method=0)


def measured(code: Path, large: Path, small: Path) -> dict[str, Any]:
    """One run of CHILD."""
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", CHILD, str(large), str(small)],
        env={**os.environ, "PYTHONPATH": str(code)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def every_upload(sizes: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
    """Size, name and file, in sizes such as "3264x2448"."""
    for size in sizes:
        width, height = map(int, size.split("x"))
        for name, content in uploads((width, height)):
            yield size, name, content


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["3264x2448"])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large"), Path(folder, "small")
        for size, name, content in every_upload(given.sizes):
            large.write_bytes(content)
            with Image.open(large) as image:
                small.write_bytes(encoded(image.resize((64, 48)), str(image.format)))
            runs: dict[str, list[dict[str, Any]]] = {code.name: [] for code in given.folders}
            for _ in range(given.rounds):
                for code in given.folders:
                    runs[code.name].append(measured(code, large, small))
            for code, figures in runs.items():
                medians = {
                    key: round(statistics.median(one[key] for one in figures), 1)
                    for key in figures[0] if key != "bytes"
                }  # fmt: skip
                upload = {"code": code, "size": size, "upload": name, "upload_bytes": len(content)}
                rows.append({**upload, **medians, "runs": figures})
                print(code, size, name, medians, file=sys.stderr)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
