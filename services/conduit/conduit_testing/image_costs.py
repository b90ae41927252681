"""Measures the CPU and memory of making covers of the largest uploads, each in a separate process.

``python -m conduit_testing.image_costs [--rounds 3] [FOLDER …]`` prints JSON. Each folder holds a version of the
package ``conduit``; the default is this version. The versions are interleaved, so that a slow minute of the machine
affects all of them.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips
from PIL import Image

from conduit_testing.pictures import encoded
from loadtests.pictures.photos import photos

SIZE = (3_264, 2_448)

# The peak above the idle process, after it has made a cover of the same kind.
CHILD = """
import json, pathlib, sys, time
from conduit.passwords import Passwords
Passwords(1)
from conduit import images, image_structure
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


def uploads() -> Iterator[tuple[str, bytes]]:
    """Names and files of 8 megapixels and at most 5 MB, in every form that decoders handle differently."""
    taken = max((Image.open(io.BytesIO(file)) for file in photos()), key=lambda image: image.width * image.height)
    photo = taken.convert("RGB").resize(SIZE)
    flat, drawn = photo.quantize(16), photo.resize((408, 306)).resize(SIZE, Image.Resampling.NEAREST)
    fading, drawn_fading = photo.copy(), drawn.copy()
    for image in (fading, drawn_fading):
        image.putalpha(Image.linear_gradient("L").resize(SIZE))
    yield "JPEG", encoded(photo, "JPEG", quality=85)
    yield "JPEG 4:4:4", encoded(photo, "JPEG", quality=80, subsampling=0)
    yield "JPEG progressive", encoded(photo, "JPEG", quality=85, progressive=True)
    yield "JPEG progressive 4:4:4", encoded(photo, "JPEG", quality=80, subsampling=0, progressive=True)
    yield "JPEG progressive CMYK", encoded(photo.convert("CMYK"), "JPEG", quality=70, subsampling=0, progressive=True)
    yield "PNG", encoded(drawn, "PNG", compress_level=1)
    yield "PNG alpha", encoded(drawn_fading, "PNG", compress_level=1)
    yield "PNG palette", encoded(flat, "PNG", compress_level=1)
    for name, mode in (("PNG interlaced", "rgb"), ("PNG interlaced, 16 bits, alpha", "rgb16")):
        image = pyvips.Image.new_from_memory(drawn_fading.tobytes(), *SIZE, 4, "uchar").copy(interpretation="srgb")
        image = image.colourspace("rgb16") if mode == "rgb16" else image.extract_band(0, n=3)
        yield name, image.pngsave_buffer(interlace=True, compression=6)
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large"), Path(folder, "small")
        for name, content in uploads():
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
                rows.append({"code": code, "upload": name, "upload_bytes": len(content), **medians, "runs": figures})
                print(code, name, medians, file=sys.stderr)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
