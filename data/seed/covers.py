"""The covers of the seed: four for each theme, of which about a third of the articles get one of their theme.

Few enough to be drawn and resized in some ten seconds, so that `SIZE=medium`, which fills its tables at the pace of a
box's PostgreSQL, stays under a minute; and the same number at every size, so that the files a page asks for weigh as
much.

``python -m data.seed.covers`` writes their files to stdout as a tar stream, named and made as the app makes them
from an upload. Behind them comes a manifest of their SHA-256 (as of sha256sum). Given that manifest back on stdin, by
whoever found all files to be as it says, it draws nothing and writes the manifest alone.
"""

import hashlib
import io
import sys
import tarfile
from typing import IO

from conduit import image_structure, images, media_names
from data.pictures import motifs
from data.seed.sizes import VERSION
from data.seed.vocabulary import THEMES

VARIANTS = 4
COUNT = len(THEMES) * VARIANTS
SHARE = 1 / 3
MANIFEST = "private/seed/covers.sha256"
# Other covers than these are not those of this seed, whole or not. sha256sum takes the line for a comment.
HEADER = f"# covers of the seed, version {VERSION}, recipe {media_names.RECIPE.decode()}"
# As somebody would upload it, whose picture it is: hardly less than what was drawn.
_QUALITY = 95


def of_theme(theme: int, u: float) -> int:
    """The number of one of a theme's covers; ``u`` from 0 up to, not including, 1."""
    return theme * VARIANTS + int(u * VARIANTS)


def upload(number: int) -> bytes:
    """The picture of a cover as it would be uploaded, a JPEG; the same every time."""
    theme, variant = divmod(number, VARIANTS)
    out = io.BytesIO()
    motifs.draw(theme, variant).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def files(number: int) -> dict[str, bytes]:
    """The app's files of a cover, by name."""
    content = upload(number)
    digest, made = media_names.digest_of(content), images.covers(image_structure.inspect(content))
    return {media_names.cover_file(digest, size): made[size] for size in media_names.SIZES}


def main(manifest: str, out: IO[bytes]) -> None:
    """The tar stream, given the manifest of what is there; an empty text where nothing is."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        if manifest.partition("\n")[0] != HEADER:
            manifest = f"{HEADER}\n"
            for number in range(COUNT):
                for name, content in files(number).items():
                    _add(archive, name, content)
                    manifest += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        _add(archive, MANIFEST, manifest.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main(sys.stdin.read(), sys.stdout.buffer)
