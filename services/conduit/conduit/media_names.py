"""Names of files in Media. Covers are content-addressed, so that the file at an address never changes."""

import hashlib
import re

# At most this many pixels wide; never enlarged.
SIZES = {"small": 320, "medium": 800, "large": 1600}

# Part of every digest: when ``images.py`` makes other files of the same upload (sizes, quality, format), they must have
# other names, because browsers keep a file for a year. Change it with ``images.py``.
RECIPE = b"2"

_DIGEST_LENGTH = 32
_COVER_FILE = re.compile(rf"[0-9a-f]{{{_DIGEST_LENGTH}}}-(?:{'|'.join(SIZES)})\.webp", re.ASCII)
_NAME = re.compile(r"(?:public|private)(?:/[0-9a-z][0-9a-z._-]{0,99}){1,3}", re.ASCII)


def digest_of(upload: bytes) -> str:
    """The digest in a cover's file names: 32 hexadecimal digits of SHA-256 over the recipe and the upload."""
    return hashlib.sha256(RECIPE + b"\n" + upload).hexdigest()[:_DIGEST_LENGTH]


def cover_file(digest: str, size: str) -> str:
    """The public file of one size of a cover."""
    return f"public/{digest}-{size}.webp"


def upload_file(digest: str, article_id: int) -> str:
    """The private file of an upload until its cover is made."""
    return f"private/uploads/{article_id}-{digest}"


def report_file(report_id: int) -> str:
    """The private file of a report."""
    return f"private/reports/{report_id}.csv"


def is_cover_file(name: str) -> bool:
    """Whether ``name``, without its ``public/``, is a valid name of a cover's file."""
    return _COVER_FILE.fullmatch(name) is not None


def public_address(name: str) -> str:
    """The path of a public file on the site. Raises ValueError for a private one."""
    if not name.startswith("public/"):
        raise ValueError(f"{name!r} is not public: it has no address")
    return f"/media/{name[7:]}"


def checked(name: str) -> str:
    """The name, if it is valid: no part of it is ``..`` or hidden. Raises ValueError."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a valid file name")
    return name
