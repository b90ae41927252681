"""Hypothesis strategies for broken images: as a disk, a network or an attacker may break them."""

import random

from hypothesis import strategies as st

from conduit_testing.pictures import animated, encoded, photographed, picture, png_chunk, upload

REAL = [
    upload("PNG"),
    upload("PNG", 200, 150),
    encoded(picture().quantize(16), "PNG", transparency=3),
    encoded(picture(60, 40).convert("RGBA"), "PNG"),
    upload("JPEG", 120, 90),
    upload("JPEG", 120, 90, progressive=True),
    encoded(picture(64, 64).convert("CMYK"), "JPEG", restart_marker_blocks=3),
    upload("WEBP", 120, 90),
    upload("WEBP", 120, 90, lossless=True),
    encoded(picture(64, 48).convert("RGBA"), "WEBP", exact=True),
    *(photographed(kind, 6) for kind in ("PNG", "JPEG", "WEBP")),
    *(animated(kind) for kind in ("PNG", "WEBP", "GIF")),
]


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A real image, repeatedly mutated, truncated, spliced or appended to another."""
    content = bytearray(draw(st.sampled_from(REAL)))
    chance = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        at = chance.randrange(len(content))
        match draw(st.sampled_from(["bits", "bytes", "number", "cut", "hole", "insert", "repeat", "other", "swap"])):
            case "bits":
                for _ in range(chance.randint(1, 8)):
                    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            case "bytes":
                content[at : at + 8] = chance.randbytes(len(content[at : at + 8]))
            case "number":
                content[at : at + 4] = chance.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")
                )
            case "cut":
                del content[at:]
            case "hole":
                del content[at : at + chance.randint(1, 64)]
            case "insert":
                content[at:at] = chance.randbytes(chance.randint(1, 64))
            case "repeat":
                content[at:at] = content[at : at + 200] * chance.randint(1, 20)
            case "other":
                content += draw(st.sampled_from(REAL))
            case "swap":
                other = draw(st.sampled_from(REAL))
                content[at:] = other[chance.randrange(len(other)) :]
    return bytes(content)


def checksums_mended(content: bytes) -> bytes:
    """The same with valid checksums of all PNG chunks, to reach the code behind that check."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    at, chunks = 8, [content[:8]]
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        if at + 12 + length > len(content):
            break
        chunks.append(png_chunk(content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(chunks) + content[at:]
