"""Pictures to upload: good ones, and one of each kind that must be refused."""

import io
import random

from PIL import Image
from playwright.sync_api import FilePayload

from data.pictures import motifs


def picture(width: int = 1200, height: int = 800, kind: str = "JPEG", motif: int = 4) -> bytes:
    """A drawn picture, the same each time."""
    return _saved(motifs.draw(motif, 0).resize((width, height), Image.Resampling.BICUBIC), kind)


def not_an_image() -> bytes:
    return b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def truncated() -> bytes:
    whole = picture()
    return whole[: len(whole) // 2]


def damaged() -> bytes:
    """Whole by its structure, and its pixels are nonsense."""
    whole = bytearray(picture(kind="PNG"))
    at = whole.index(b"IDAT") + 200
    whole[at : at + 400] = bytes(400)
    return bytes(whole)


def animated() -> bytes:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def too_many_pixels() -> bytes:
    """A few kilobytes that unpack to 24.2 megapixels."""
    return _saved(Image.new("RGB", (6050, 4000), "teal"), "PNG")


def too_large() -> bytes:
    """Over 5 MB, because noise does not compress."""
    noise = Image.frombytes("RGB", (1400, 1300), random.Random(1).randbytes(1400 * 1300 * 3))
    return _saved(noise, "PNG")


def file(content: bytes, name: str = "cover.jpg") -> FilePayload:
    """As a file that somebody chooses."""
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def _saved(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()
