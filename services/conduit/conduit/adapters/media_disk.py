"""Media on the app's own disk: right for one app box, and the reason a second one keeps its files elsewhere."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from conduit.errors import UnavailableError
from conduit.media_names import checked


class DiskMedia:
    """Files under ``directory``, named as Media names them. The app itself serves the public ones at ``/media/``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, name: str, content: bytes, content_type: str) -> None:  # noqa: ARG002 - a file has no type
        target = self._directory / checked(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(target, content)
        except OSError as error:
            raise UnavailableError("the place for files") from error

    def get(self, name: str) -> bytes | None:
        try:
            return (self._directory / checked(name)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError("the place for files") from error

    def delete(self, name: str) -> None:
        try:
            (self._directory / checked(name)).unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError("the place for files") from error

    def left_in(self, folder: str) -> list[str]:
        """The names of the files in a folder, for who begins: what a process that died had half written is deleted."""
        try:
            found = [path.name for path in (self._directory / checked(folder)).iterdir()]
            for name in found:
                if name.startswith("."):
                    (self._directory / folder / name).unlink(missing_ok=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError("the place for files") from error
        return [f"{folder}/{name}" for name in found if not name.startswith(".")]

    def url(self, name: str) -> str:
        if not name.startswith("public/"):
            raise ValueError(f"{name!r} is not public: it has no address")
        return f"/media/{name[7:]}"


def _write_whole(target: Path, content: bytes) -> None:
    """Under another name first, and on the disk before it gets its own: a box that dies leaves no half a file."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
